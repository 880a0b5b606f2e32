"""How many workers died under each task.

Dask computes a task again when its worker dies, on and on: one block that needs too much memory takes down worker after worker. The
scheduler says which tasks a lost worker held, so deaths are counted here, and a task that was there too often is taken back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mitoscale.core.result import Key


@dataclass(kw_only=True)
class PendingTask:
    """A task that was submitted and has not returned."""

    keys: tuple[Key, ...]
    """What it computes; several are a bundle."""
    future: Any
    """Its Dask future."""
    deaths: int = 0
    """Workers that died while they held it."""


def count_deaths(pending: dict[str, PendingTask], held: Iterable[str], *, most: int) -> list[PendingTask]:
    """Count a worker's death for each task it held, and take out the tasks that are not to be computed again as they are.

    Parameters
    ----------
    pending : dict of str to PendingTask
        The tasks by name; those taken out are removed.
    held : iterable of str
        Names of the tasks a dead worker held; those that are not pending any more are passed over.
    most : int
        A task with so many deaths is taken out; a bundle at its first, because one of its keys alone may be what kills.

    Returns
    -------
    list of PendingTask
        Those that were taken out.

    Examples
    --------
    >>> pending = {"a": PendingTask(keys=("a",), future=None), "b": PendingTask(keys=("b", "c"), future=None)}
    >>> [task.keys for task in count_deaths(pending, ["a", "b", "gone"], most=2)], [task.deaths for task in pending.values()]
    ([('b', 'c')], [1])
    """
    out = []
    for name in held:
        task = pending.get(name)
        if task is None:
            continue
        task.deaths += 1
        if len(task.keys) > 1 or task.deaths >= most:
            out.append(pending.pop(name))
    return out
