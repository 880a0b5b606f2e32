"""What a watched run writes on its board, and that those who watch cannot disturb it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Finished, Stack

from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.settings import STAGES
from mitoscale.dashboard.board import Board, State
from mitoscale.dashboard.watch import Watch
from mitoscale.pipeline import Audience, Observer, execute, load

LOST = "z000_y001_x001"


def board_of(watch: Watch) -> Board:
    packed = watch.news()
    assert packed is not None
    return Board.unpacked(packed)


class Breaks(Observer):
    """Fails at the first word."""

    heard = 0

    def stage_started(self, *words: object) -> None:
        self.heard += 1
        raise ValueError("no paper left")


class Looks(Observer):
    """Takes the board whenever a task is done."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.boards = watch, list[Board]()

    def task_done(self, name: str, task: str, voxels: float) -> None:
        self.boards.append(board_of(self.watch))


def test_a_run_with_lost_blocks(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run, fails = str(tmp_path / "run"), tmp_path / "fails"
    ended = mitoscale("convert", stack.image, run, *stack.exact(), "--segmenter-option", f"fails={fails}")
    assert ended.code == 0, ended.err
    loaded = load(run)
    fails.write_text(str(loaded.plan.grid.named(LOST).halo))
    watch = Watch(loaded, STAGES[1:])
    before = board_of(watch)
    assert watch.news() is None
    assert before.tallies["convert"].tasks_done == before.tallies["convert"].tasks == 4  # rows; converted earlier
    assert before.tallies["detect"].tasks_done == 0 and before.at_work == ""
    looks = Looks(watch)
    execute(loaded, STAGES[1:], SerialExecutor(), Audience(watch, looks))
    board = board_of(watch)
    assert {name: (t.tasks_done, t.tasks_lost) for name, t in board.tallies.items()} == {
        "convert": (4, 0),
        "detect": (8, 0),
        "segment": (4, 4),  # all four of a layer read the same
        "stitch": (12, 0),
        "relabel": (8, 0),
        "measure": (8, 0),
    }
    assert (board.tallies["segment"].states() == [[[State.quarantined]], [[State.done]]]).all()
    assert "beyond me" in board.tallies["segment"].reasons[LOST]
    assert board.fault_counts == {"raised": 4, "quarantined": 4}
    assert [e.kind for e in board.faults] == ["raised"] * 4 + ["quarantined"] * 4
    assert (board.furthest() == 6).all()
    detect = [b for b in looks.boards if b.at_work == "detect"]
    assert [b.tallies["detect"].tasks_done for b in detect] == list(range(1, 9))
    assert all(b.tallies["segment"].tasks_done == 0 for b in detect)
    assert detect[-1].pace.voxels_per_second > 0 and detect[-1].seconds_left == 0
    retrying = [b.tallies["segment"].retrying for b in looks.boards if b.at_work == "segment"]
    assert LOST in retrying[-1] and board.tallies["segment"].retrying == set()

    # begun again, only what is missing is done, and the board knows what was done before
    fails.unlink()
    again = Watch(loaded, STAGES)
    execute(loaded, STAGES, SerialExecutor(), again)
    healed = board_of(again)
    assert all(t.tasks_done == t.tasks and not t.tasks_lost for t in healed.tallies.values())


def test_damage_takes_what_depends_on_it_off_the_board(finished: Finished, tmp_path: Path) -> None:
    run = shutil.copytree(finished.run, tmp_path / "run").as_posix()
    Path(run, "work", "foreground.zarr", "c", "0", "0", "1").unlink()
    loaded = load(run)
    watch = Watch(loaded, STAGES[2:])
    looks = Looks(watch)
    execute(loaded, STAGES[2:], SerialExecutor(), Audience(watch, looks), redo="segment")
    first = next(b for b in looks.boards if b.at_work == "detect")
    assert first.tallies["detect"].tasks_done == 8 and first.tallies["segment"].tasks_done == 0
    board = board_of(watch)
    assert board.fault_counts["damaged"] == 1
    assert all(np.array_equal(t.done, t.total) for t in board.tallies.values())


def test_one_who_watches_and_fails_hears_no_more(finished: Finished, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = load(shutil.copytree(finished.run, tmp_path / "run").as_posix())
    breaks, watch = Breaks(), Watch(run, STAGES)
    with caplog.at_level(logging.ERROR):
        execute(run, STAGES, SerialExecutor(), Audience(breaks, watch))
    assert breaks.heard == 1 and "no paper left" in caplog.text and "Breaks" in caplog.text
    assert board_of(watch).tallies["measure"].tasks_done == 8
