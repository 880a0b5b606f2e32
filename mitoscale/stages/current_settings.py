"""Whether the run still has the settings a task computes with: a task that was cancelled may go on for a while."""

from __future__ import annotations

import json
import os
from functools import lru_cache

from mitoscale.core.errors import BlockError
from mitoscale.core.plan import RunPlan
from mitoscale.core.settings import RunSettings
from mitoscale.storage.layout import RunFolder


def check_current(plan: RunPlan, stage: str) -> None:
    """Raise where ``run.json`` has other settings for a stage by now: nothing is written over what they make.

    Parameters
    ----------
    plan : RunPlan
        What the task computes with.
    stage : str
        The task's stage.

    Raises
    ------
    BlockError
    """
    try:
        with open(RunFolder(plan.run).run_json, "rb") as file:
            status = os.fstat(file.fileno())
            settings = _settings(file.name, status.st_mtime_ns, status.st_ino)
    except OSError:
        return  # a stage alone, or a disk that is away: then writing fails by itself
    if settings is not None and settings.token(stage) != plan.settings.token(stage):
        raise BlockError(f"{stage}: the run has other settings by now; what was computed with the older ones is not written")


@lru_cache(maxsize=4)
def _settings(path: str, modified: int, inode: int) -> RunSettings | None:
    """The settings in a ``run.json``; the last two arguments only tell one from a later one."""
    with open(path, encoding="utf-8") as file:
        try:
            return RunSettings.model_validate(json.load(file)["plan"]["settings"])
        except (ValueError, KeyError, TypeError):
            return None
