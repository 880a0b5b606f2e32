"""A process that is killed at a chosen step, within this one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Killed(BaseException):
    """Ends all work as a kill does: nothing that runs catches it."""


def killing(work: Callable[..., Any], now: Iterator[bool] | None = None) -> Callable[..., Any]:
    """A function in whose place the process is killed, each time or when ``now`` says so; a tree is half removed then.

    Parameters
    ----------
    work : callable
        The function.
    now : iterator of bool
        For each call; several functions may share it.
    """

    def step(*arguments: Any, **options: Any) -> Any:
        if now is not None and not next(now, True):
            return work(*arguments, **options)
        if work is shutil.rmtree:
            Path(arguments[0], "zarr.json").unlink(missing_ok=True)
        raise Killed

    return step
