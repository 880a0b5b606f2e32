"""Removing what a finished run no longer needs, and what was made of a run that cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mitoscale.core.errors import InputError
from mitoscale.pipeline.run import LOCK, Run, locked
from mitoscale.pipeline.state import finished, quarantined
from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.events import EventLog
from mitoscale.storage.exclusive import files_of
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.stored_files import names_at, remove_tree, stored_bytes


def clean(run: Run) -> float:
    """Remove what only later stages need; returns the bytes that became free, in a store about.

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
        freed = stored_bytes(folder.work)
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
    folder = run.plan.run
    kept = files_of(LOCK)
    new = not EventLog(RunFolder(folder).events).read() if is_remote(folder) else set(names_at(folder)) <= {"run.json", *kept}
    try:
        yield
    except InputError:
        if new and not finished(run, "convert"):
            with suppress(InputError), locked(folder):  # somebody else's by now, where that is refused
                for name in names_at(folder):
                    if not is_remote(folder) or name not in kept:  # an object that tells the owner is removed by the lock
                        remove_tree(join(folder, name))
                with suppress(OSError):  # a link or a mount point stays, empty as it was
                    os.rmdir(folder)
        raise
