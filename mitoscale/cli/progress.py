"""What a person sees of a run: one progress bar a stage, and a closing summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
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

from mitoscale.pipeline import Observer, StageOutcome


class ProgressBars(Observer):
    """An observer of a run that shows it in the terminal; where there is no terminal, one line a stage."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, soft_wrap=True)
        self.bars = Progress(
            TextColumn("{task.description:9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
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
        if not self.console.is_terminal:
            left = f", {len(outcome.quarantined)} given up" if outcome.quarantined else ""
            what = f"{outcome.computed} of {outcome.tasks} tasks computed{left}" if outcome.tasks else "done"
            self.console.print(f"{outcome.name:9} {what}, {outcome.seconds:.1f} s")


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
