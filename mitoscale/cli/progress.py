"""How far a run is: a bar a stage for people who wait, text and JSON for those who ask."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mitoscale.cli.progress_lines import ProgressLines
from mitoscale.core.network_cost import as_text as as_figure
from mitoscale.pipeline import Observer, StageOutcome
from mitoscale.pipeline.status import RunProgress, StageProgress


class ProgressBars(Observer):
    """An observer of a run that shows it in the terminal.

    Parameters
    ----------
    console : rich Console
        Of the terminal.
    """

    def __init__(self, console: Console) -> None:
        self.bars = Progress(
            TextColumn("{task.description:9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._voxels: dict[str, float] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> ProgressBars:
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bars.stop()

    def stage_started(self, name: str, total: int, done: Collection[str]) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        self._tasks[name] = self.bars.add_task(name, total=max(total, 1), completed=len(done), rate="")
        self._voxels[name], self._began[name] = 0.0, time.monotonic()

    def task_done(self, name: str, task: str, voxels: float) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        self._voxels[name] += voxels
        rate = self._voxels[name] / 1e6 / max(time.monotonic() - self._began[name], 1e-3)
        self.bars.update(self._tasks[name], advance=1, rate=f"{rate:6.2f} Mvoxel/s" if voxels else "")

    def stage_finished(self, outcome: StageOutcome) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        if outcome.name in self._tasks:  # what it needs of earlier stages may have been found broken before it began
            self.bars.update(self._tasks[outcome.name], completed=max(outcome.tasks, 1))


@contextmanager
def shown() -> Iterator[Observer]:
    """What shows a run to whoever waits: bars in a terminal, plain lines elsewhere."""
    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        yield ProgressLines()
        return
    with ProgressBars(console) as bars:
        yield bars


Heard = Callable[[int, int | None], None]
"""To be told how much is done, and all there is or None."""


@contextmanager
def download_bar(name: str) -> Iterator[Heard]:
    """Show a download, told in bytes."""
    with _bar(name, DownloadColumn(), TransferSpeedColumn()) as heard:
        yield heard


@contextmanager
def count_bar(name: str) -> Iterator[Heard]:
    """Show how many of some things are done."""
    with _bar(name, MofNCompleteColumn(), TimeElapsedColumn()) as heard:
        yield heard


@contextmanager
def _bar(name: str, *columns: ProgressColumn) -> Iterator[Heard]:
    """A bar in the terminal; nothing where there is none."""
    console = Console(stderr=True, soft_wrap=True)
    shown = (TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn())
    with Progress(*shown, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


_FAULTS = ("worker lost", "raised", "taken back", "damaged", "quarantined", "stopped")
_SHOWN = 5


def as_object(found: RunProgress) -> str:
    """One JSON object."""
    content = {
        "finished": found.finished,
        "working": found.working,
        "missing": found.missing,
        "stages": [asdict(stage) for stage in found.stages],
        "events": [event.model_dump() for event in found.events],
    }
    return json.dumps(content, indent=2)


def as_text(found: RunProgress, run: str) -> str:
    """A table of the stages, what was given up, and the last faults.

    Parameters
    ----------
    found : RunProgress
        What is done.
    run : str
        Path of the run, for the commands that are told.
    """
    lost = [(s.name, task, why) for s in found.stages for task, why in s.quarantined.items()]
    head = f"{'stage':9}{'tasks':>16}{'given up':>10}{'Mvoxel/s':>10}{'net px/vx':>11}{'read s':>9}{'compute s':>11}{'write s':>9}"
    head += f"{'GB in/out':>14}  left"
    lines = [f"{run}: {_state(found)}", head, *map(_line, found.stages)]
    if any(stage.network_pixels for stage in found.stages):
        lines += ["net px/vx: pixels that went through a network for each voxel of the volume"]
    if lost:
        lines += ["", f"given up (mitoscale retry {run} heals them):"]
        lines += [f"  {stage} {task}: {why}" for stage, task, why in lost[:_SHOWN]]
        lines += [f"  ... and {len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    faults = [event for event in found.events if event.kind in _FAULTS]
    if faults:
        lines += ["", f"faults so far: {len(faults)}; the last:"]
        for event in faults[-_SHOWN:]:
            when = datetime.fromtimestamp(event.time).strftime("%H:%M:%S")
            lines.append("  " + " ".join(filter(None, (when, event.kind, event.stage, event.task, event.worker, event.detail))))
    return "\n".join(lines)


def _state(found: RunProgress) -> str:
    if found.working:
        return "a process is working on it"
    if found.missing:
        return f"was finished, but {found.missing} is gone: start the same command again, it is written anew"
    if found.finished:
        return "finished, but without some tasks" if any(s.quarantined for s in found.stages) else "finished"
    return "not finished, and nobody is working on it: start the same command again"


def _line(stage: StageProgress) -> str:
    seconds = stage.seconds
    rate = f"{stage.voxels_per_second / 1e6:.2f}" if stage.voxels_per_second else ""
    network = as_figure(stage.network_pixels_per_voxel)
    moved = f"{stage.bytes_read / 1e9:.2f}/{stage.bytes_written / 1e9:.2f}" if stage.bytes_read else ""
    times = "".join(f"{seconds[phase]:>{width}.1f}" for phase, width in (("read", 9), ("compute", 11), ("write", 9)))
    counted = f"{stage.done} of {stage.tasks}"
    return f"{stage.name:9}{counted:>16}{len(stage.quarantined) or '':>10}{rate:>10}{network:>11}{times}{moved:>14}  {_left(stage)}"


def _left(stage: StageProgress) -> str:
    if stage.finished:
        return "done"
    if not stage.done:
        return ""
    if stage.seconds_left is None:
        return "?"
    return f"about {timedelta(seconds=round(stage.seconds_left))}" if stage.seconds_left else "its end is left"
