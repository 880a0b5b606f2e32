"""How a task comes back from a pool of tasks, and what such a pool does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from mitoscale.core.result import BlockResult, Key


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """How a task came back: with a result, with an error, or (with neither) not at all, because its workers died."""

    key: Key
    """What it worked on."""
    result: BlockResult | None = None
    """What it returned."""
    error: BaseException | None = None
    """What it raised at last."""
    traceback: str = ""
    """Where it raised."""
    deaths: int = 0
    """Workers that died while they held it."""


class Pool(Protocol):
    """The tasks of one stage, a bounded number of them under way."""

    def over(self, keys: Iterable[Key], *, deaths: int, alone: bool = False) -> Iterator[TaskOutcome]:
        """Compute keys, and yield each as it comes back.

        Parameters
        ----------
        keys : iterable of Key
            Taken one by one, as there is room.
        deaths : int
            A task whose workers died this often is taken back.
        alone : bool
            One at a time.
        """
