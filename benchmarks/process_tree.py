"""Runs a command and measures it with all processes it starts: wall and processor seconds, and memory."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

EVERY = 0.1
"""Seconds between two looks."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a command took."""

    output: str
    """What it printed on stdout."""
    seconds: float
    """Wall time."""
    processor_seconds: float
    """Of all processes, as far as they were seen; short-lived ones may be missing."""
    peak_bytes: int
    """Largest sum of resident memory."""
    peak_process_bytes: int
    """Largest resident memory of a single process."""


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    environment : mapping, optional
        Instead of this process's own.

    Raises
    ------
    SystemExit
        If it fails.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(environment) if environment else None)
    spent, peaks, ended = dict[int, float](), [0, 0], threading.Event()
    watching = threading.Thread(target=_watch, args=(process.pid, spent, peaks, ended))
    watching.start()
    output, _ = process.communicate()
    ended.set()
    watching.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Measured(
        output=output,
        seconds=time.perf_counter() - began,
        processor_seconds=sum(spent.values()),
        peak_bytes=peaks[0],
        peak_process_bytes=peaks[1],
    )


def _watch(pid: int, spent: dict[int, float], peaks: list[int], ended: threading.Event) -> None:
    while not ended.wait(EVERY):
        sizes = []
        try:
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                with process.oneshot():
                    times = process.cpu_times()
                    spent[process.pid] = times.user + times.system
                    sizes.append(process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
        peaks[0], peaks[1] = max(peaks[0], sum(sizes)), max(peaks[1], *sizes)
