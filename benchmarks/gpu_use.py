"""Runs a command of mitoscale and tells how busy the GPU was, second by second and in each stage.

    python benchmarks/gpu_use.py RUN --out gpu-use.json -- mitoscale run stack.tif RUN --cluster cuda.yaml --voxel-size 5,5,5

``nvidia-smi`` says which part of the time since its last look a kernel was running; it is asked twice a second. Of each stage the
mean counts from its first line in the run's log of events to its last. On a machine without ``nvidia-smi`` there are no samples.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder

EVERY = 0.5
"""Seconds between two looks."""

_ASKED = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")

Sample = tuple[float, float, float]
"""Seconds since 1970, per cent busy and MiB in use, of all GPUs together."""


def watch(samples: list[Sample], ended: threading.Event) -> None:
    """Ask until the end."""
    while shutil.which("nvidia-smi") and not ended.wait(EVERY):
        asked = subprocess.run(_ASKED, capture_output=True, text=True, check=False)
        try:
            rows = [tuple(map(float, line.split(","))) for line in asked.stdout.strip().splitlines()]
        except ValueError:
            continue
        if rows:
            samples.append((time.time(), sum(row[0] for row in rows) / len(rows), sum(row[1] for row in rows)))


def by_stage(run: str, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Seconds of each stage, and per cent of them in which the GPU was busy."""
    began, found = dict[str, float](), dict[str, dict[str, float]]()
    for event in EventLog(RunFolder(run).events).read():
        if event.kind == "started":
            began[event.stage] = event.time
        elif event.kind == "ended" and event.stage in began:
            inside = [busy for at, busy, _ in samples if began[event.stage] <= at <= event.time]
            found[event.stage] = {"seconds": round(event.time - began[event.stage], 2), "samples": len(inside)}
            if inside:
                found[event.stage]["busy_per_cent"] = round(sum(inside) / len(inside), 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--out")
    parser.add_argument("command", nargs="+", help="after --")
    arguments = parser.parse_args()
    samples, ended = list[Sample](), threading.Event()
    watching = threading.Thread(target=watch, args=(samples, ended))
    watching.start()
    began = time.time()
    code = subprocess.run(arguments.command, check=False).returncode
    ended.set()
    watching.join()
    result: dict[str, Any] = {
        "command": arguments.command,
        "exit_code": code,
        "seconds": round(time.time() - began, 1),
        "stages": by_stage(arguments.run, samples),
        "peak_mib": max((used for _, _, used in samples), default=0.0),
        "busy_per_cent": [[round(at - began, 1), busy] for at, busy, _ in samples],
    }
    print(json.dumps({name: result[name] for name in ("exit_code", "seconds", "stages", "peak_mib")}, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result) + "\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
