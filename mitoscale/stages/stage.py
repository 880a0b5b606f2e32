"""What every stage is: a small picklable value that prepares once, processes keys, and finishes once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from mitoscale.core.grid import Block, Face
from mitoscale.core.plan import RunPlan
from mitoscale.core.result import BlockResult
from mitoscale.storage.arrays import Array, open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import LedgerEntry

Key = Block | Face
"""What one task works on."""


class Stage(BaseModel):
    """Base of all stages; workers receive it pickled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """The stage's name in the ledger and the dashboard."""

    group: ClassVar[str] = "io"
    """The group of workers that takes its tasks: ``gpu`` for networks, else ``io``."""

    plan: RunPlan
    """What run this is."""

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.plan.run)

    def open_image(self) -> Array:
        """Level 0; a source read in place may leave out empty chunks, the run's own volume may not."""
        return open_array(self.plan.image, missing="fill" if self.plan.settings.convert.in_place else "raise")

    def keys(self) -> Sequence[Key]:
        """What there is to process: one task each."""
        return list(self.plan.grid.blocks())

    def prepare(self, fresh: bool) -> None:
        """Make what all tasks need, on the client, before any task.

        Parameters
        ----------
        fresh : bool
            True where nothing of this stage is done yet: arrays are then created anew.
        """

    def process(self, key: Key) -> BlockResult:
        """Do one task; when this returns, its data is durable."""
        raise TypeError(f"stage {self.name} has no tasks")

    def finish(self, done: Mapping[str, LedgerEntry]) -> dict[str, float]:
        """Bring the tasks' results together, on the client; returns numbers for the summary."""
        return {}


class Stopwatch:
    """Adds up the time of named phases.

    Examples
    --------
    >>> watch = Stopwatch()
    >>> with watch.phase("read"):
    ...     pass
    >>> list(watch.seconds)
    ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is inside the ``with``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start
