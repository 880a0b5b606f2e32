"""Removing what a finished run no longer needs, and what was made of a run that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mitoscale.core.errors import InputError
from mitoscale.pipeline.run import LOCK, Run, locked
from mitoscale.pipeline.state import finished, quarantined
from mitoscale.storage.exclusive import files_of
from mitoscale.storage.layout import RunFolder, remove_tree


def clean(run: Run) -> int:
    """Remove what only later stages need; returns the bytes that became free.

    Raises
    ------
    InputError
        If the run is not finished, or tasks that were given up could still be healed with what would be removed.
    """
    folder = RunFolder(run.plan.run)
    with locked(folder.path):
        if not finished(run, "report"):
            raise InputError(f"{run.plan.run} is not finished; what it needs stays")
        lost = sum(map(len, quarantined(run).values()))
        if lost:
            raise InputError(f"{run.plan.run} lacks {lost} tasks that were given up; heal it with mitoscale retry first")
        freed = sum(f.stat().st_size for f in Path(folder.work).rglob("*") if f.is_file())
        remove_tree(folder.work)
    return freed


@contextmanager
def taken_back(run: Run) -> Iterator[None]:
    """Where a new run's source turns out to be unfit while it is read, remove what was made: wrong input changes nothing.

    Parameters
    ----------
    run : Run
        From :func:`mitoscale.pipeline.start`.
    """
    folder = Path(run.plan.run)
    new = {entry.name for entry in folder.iterdir()} <= {Path(RunFolder(run.plan.run).run_json).name, *files_of(Path(LOCK))}
    try:
        yield
    except InputError:
        if new and not finished(run, "convert"):
            with suppress(InputError), locked(str(folder)):  # somebody else's by now, where that is refused
                for entry in folder.iterdir():
                    remove_tree(str(entry))
                with suppress(OSError):  # a link or a mount point stays, empty as it was
                    folder.rmdir()
        raise
