"""Whether a task is still wanted, with the settings it computes with: one that was cancelled may go on for a while.

Each time a stage is begun, the run counts it. A task knows the number its stage was begun with; where the run has a larger one by
now, as after ``retry``, another task may have done the same from newer inputs, and nothing is written over that. A number, because
a machine that sees the file late must not refuse what is wanted.
"""

from __future__ import annotations

import json
from functools import lru_cache

from mitoscale.core.errors import BlockError
from mitoscale.core.plan import RunPlan
from mitoscale.core.settings import RunSettings
from mitoscale.storage.layout import RunFolder, write_json
from mitoscale.storage.stored_files import read


def check_current(plan: RunPlan, stage: str, start: int) -> None:
    """Raise where ``run.json`` has other settings for a stage by now, or a stage was begun since: nothing is written then.

    Parameters
    ----------
    plan : RunPlan
        What the task computes with.
    stage : str
        The task's stage.
    start : int
        From :func:`count_start`, when the task's stage was begun; 0 for a task that no run began.

    Raises
    ------
    BlockError
    """
    try:
        content = read(RunFolder(plan.run).run_json)
    except OSError:
        content = None
    if content is None:
        return  # a stage alone, or a disk that is away: then writing fails by itself
    settings = _settings(content)
    if start and _last_start(plan) > start:
        raise BlockError(f"{stage}: a stage was begun since this task was cancelled; what it computed is not written")
    if settings is not None and settings.token(stage) != plan.settings.token(stage):
        raise BlockError(f"{stage}: the run has other settings by now; what was computed with the older ones is not written")


def count_start(plan: RunPlan) -> int:
    """Note that a stage is begun; returns the number of it, from 1."""
    number = _last_start(plan) + 1
    write_json(RunFolder(plan.run).starts, number)
    return number


def _last_start(plan: RunPlan) -> int:
    try:
        return int(read(RunFolder(plan.run).starts) or 0)
    except (OSError, ValueError):
        return 0


@lru_cache(maxsize=4)
def _settings(content: bytes) -> RunSettings | None:
    """The settings in a ``run.json``; one is parsed once."""
    try:
        return RunSettings.model_validate(json.loads(content)["plan"]["settings"])
    except (ValueError, KeyError, TypeError):
        return None
