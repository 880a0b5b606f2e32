"""Keeps the board of a run: what those see who watch it."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence

from mitoscale.core.event import Event
from mitoscale.core.settings import STAGES
from mitoscale.dashboard.board import FAULTS, Board, Tally
from mitoscale.dashboard.map_cells import Cells
from mitoscale.pipeline.observer import Observer, StageOutcome
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.state import finished


class Watch(Observer):
    """Writes what it hears on a board, of which another thread may take copies.

    Parameters
    ----------
    run : Run
        The run.
    stages : sequence of str
        The stages that will be run, in order; of the others it is looked up whether they are finished.
    """

    def __init__(self, run: Run, stages: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._changed = True
        self._board = _new_board(run, stages)

    def stage_started(self, name: str, total: int, done: Collection[str]) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        with self._lock:
            self._changed, board = True, self._board
            board.at_work = name
            board.pace.begin(name, time.time())
            if name in board.tallies:
                board.tallies[name].begin(done)
            if len(done) < total:  # what comes after it is no longer what it would be
                for later in STAGES[STAGES.index(name) + 1 :]:
                    if later in board.tallies:
                        board.tallies[later].begin([])

    def task_done(self, name: str, task: str, voxels: float) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        with self._lock:
            self._changed = True
            self._board.tallies[name].finish(task)
            self._board.pace.add(voxels, time.time())

    def happened(self, event: Event) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        with self._lock:
            self._changed, board = True, self._board
            if event.kind in FAULTS:
                board.faults.append(event)
                board.fault_counts[event.kind] += 1
            tally = board.tallies.get(event.stage)
            if tally is not None and event.kind in ("raised", "taken back"):
                tally.retrying.add(event.task)
            elif tally is not None and event.kind == "quarantined":
                tally.give_up(event.task, event.detail)

    def stage_finished(self, outcome: StageOutcome) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        with self._lock:
            self._changed, board = True, self._board
            if outcome.name in board.tallies and not outcome.damaged:
                board.tallies[outcome.name].seconds = outcome.seconds
            board.at_work = ""

    def end(self, how: str) -> None:
        """The client's work is over."""
        with self._lock:
            self._changed, self._board.ended, self._board.at_work = True, how, ""

    def news(self) -> bytes | None:
        """The board, packed; None where nothing has changed since it was asked for last."""
        with self._lock:
            if not self._changed:
                return None
            self._changed = False
            return self._board.packed()


def _new_board(run: Run, stages: Sequence[str]) -> Board:
    plan = run.plan
    cells = Cells.fitting(plan.grid)
    rows = Cells(grid=plan.convert_grid, step=(cells.step[0], cells.step[1], 1))
    tallies = {name: Tally.of(cells, cells.blocks()) for name in STAGES if plan.task_count(name)}
    if "convert" in tallies:
        tallies["convert"] = Tally.of(rows, rows.blocks())
    if "stitch" in tallies:
        tallies["stitch"] = Tally.of(cells, cells.faces())
    for name, tally in tallies.items():
        if name not in stages and finished(run, name):
            tally.done[:] = tally.total
    return Board(
        run=plan.run,
        source=plan.settings.convert.source,
        shape=plan.region.shape,
        spacing=plan.spec.spacing,
        cells=cells,
        tallies=tallies,
        stages=tuple(stages),
        began=time.time(),
    )
