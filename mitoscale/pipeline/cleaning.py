"""Removing what a finished run no longer needs."""

from __future__ import annotations

from pathlib import Path

from mitoscale.core.errors import InputError
from mitoscale.pipeline.run import Run, locked
from mitoscale.pipeline.standing import finished, quarantined
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
