"""What a person who watches a run sees: each stage's tasks counted in the cells of a map, the pace, and the faults.

The client that works on a run keeps a board and shows it; nobody else writes it. It is small whatever the volume, so it can
be sent as a whole each second.
"""

from __future__ import annotations

import pickle
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from mitoscale.core.event import Event
from mitoscale.core.geometry import Spacing, Triple
from mitoscale.dashboard.map_cells import Cells
from mitoscale.dashboard.pace import Pace

FAULTS = ("worker lost", "raised", "taken back", "damaged", "quarantined")
"""Kinds of events that are faults."""

SHOWN_FAULTS = 30
"""The latest faults that a board holds."""

SHOWN_LOST = 200
"""Tasks that were given up whose reason a board holds."""


class State(IntEnum):
    """How a cell stands in a stage; where its tasks differ, the largest counts."""

    waiting = 0
    """None of its tasks is done."""
    partly = 1
    """Some of its tasks are done."""
    done = 2
    """All of its tasks are done."""
    running = 3
    """A worker has one of them."""
    retrying = 4
    """One has failed and will be tried again."""
    quarantined = 5
    """One was given up."""


@dataclass(kw_only=True)
class Tally:
    """How far one stage is."""

    cells: Cells
    """Where its tasks lie."""
    total: np.ndarray
    """(Z, Y, X) uint32, tasks of each cell."""
    done: np.ndarray
    """(Z, Y, X) uint32, those that are done."""
    lost: np.ndarray
    """(Z, Y, X) uint32, those that were given up."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Some tasks that were given up, and why."""
    retrying: set[str] = field(default_factory=set)
    """Tasks that have failed and will be tried again."""
    seconds: float | None = None
    """How long it took; None where it is not finished."""

    @classmethod
    def of(cls, cells: Cells, total: np.ndarray) -> Tally:
        """A stage of which nothing is done.

        Parameters
        ----------
        cells : Cells
            Cells of the map.
        total : (Z, Y, X) int
            Tasks of the stage in each cell.
        """
        return cls(cells=cells, total=total, done=np.zeros_like(total), lost=np.zeros_like(total))

    def begin(self, done: Iterable[str]) -> None:
        """Begin, or begin again, with some tasks done earlier."""
        self.done[:] = self.lost[:] = 0
        self.reasons, self.retrying, self.seconds = {}, set(), None
        for task in done:
            self.done[self.cells.place(task)] += 1

    def finish(self, task: str) -> None:
        """A task is done."""
        self.done[self.cells.place(task)] += 1
        self.retrying.discard(task)

    def give_up(self, task: str, reason: str) -> None:
        """A task is not tried again.

        Parameters
        ----------
        task : str
            Name of the task.
        reason : str
            Last line of what it raised.
        """
        self.lost[self.cells.place(task)] += 1
        self.retrying.discard(task)
        if len(self.reasons) < SHOWN_LOST:
            self.reasons[task] = reason

    @property
    def tasks(self) -> int:
        """All its tasks."""
        return int(self.total.sum())

    @property
    def tasks_done(self) -> int:
        """Tasks that are done."""
        return int(self.done.sum())

    @property
    def tasks_lost(self) -> int:
        """Tasks that were given up."""
        return int(self.lost.sum())

    def states(self, running: Iterable[str] = ()) -> np.ndarray:
        """(Z, Y, X) uint8, the :class:`State` of each cell.

        Parameters
        ----------
        running : iterable of str
            Tasks that workers have.
        """
        states = np.full(self.total.shape, State.waiting, np.uint8)
        states[self.done > 0] = State.partly
        states[self.done >= self.total] = State.done  # also where there is nothing to do
        for state, tasks in ((State.running, running), (State.retrying, self.retrying)):
            for task in tasks:
                states[self.cells.place(task)] = state
        states[self.lost > 0] = State.quarantined
        return states


@dataclass(kw_only=True)
class Board:
    """How a run stands."""

    run: str
    """Path of the run folder."""
    source: str
    """The volume's source."""
    shape: Triple
    """Voxels (z, y, x) that are worked on."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    cells: Cells
    """The cells of the map: those of blocks."""
    tallies: Mapping[str, Tally]
    """Each stage that has tasks, in order."""
    stages: tuple[str, ...]
    """The stages wanted now, in order."""
    began: float
    """When the client began, seconds since 1970."""
    at_work: str = ""
    """The stage at work; empty before the first and after the last."""
    ended: str = ""
    """How the client ended; empty while it works."""
    pace: Pace = field(default_factory=Pace)
    """How fast it goes."""
    faults: deque[Event] = field(default_factory=lambda: deque(maxlen=SHOWN_FAULTS))
    """The latest faults, oldest first."""
    fault_counts: Counter[str] = field(default_factory=Counter)
    """All faults, by kind."""

    def packed(self) -> bytes:
        """All of it, compressed: mostly equal numbers."""
        return zlib.compress(pickle.dumps(self), level=1)

    @staticmethod
    def unpacked(content: bytes) -> Board:
        """What :meth:`packed` gave; only from one who is trusted, because pickles can run code."""
        board: Board = pickle.loads(zlib.decompress(content))
        return board

    @property
    def seconds_left(self) -> float | None:
        """Until the stage at work has done its tasks, at the pace of the latest ones; None where that cannot be told."""
        tally, pace = self.tallies.get(self.at_work), self.pace.tasks_per_second
        if tally is None or not pace:
            return None
        return max(0, tally.tasks - tally.tasks_done - tally.tasks_lost) / pace

    def furthest(self) -> np.ndarray:
        """(Z, Y, X) uint8, how many of the stages with tasks each cell has behind it."""
        behind, count = np.ones(self.cells.shape, bool), np.zeros(self.cells.shape, np.uint8)
        for tally in self.tallies.values():
            behind &= tally.done + tally.lost >= tally.total  # rows of converted blocks broadcast along x
            count += behind
        return count


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """A board as it reached the scheduler, still packed."""

    client: str
    """Dask's name of the client that works on the run."""
    content: bytes
    """The board, packed."""
    time: float = field(default_factory=time.time)
    """When it came, seconds since 1970."""
