"""What stands on a run's board."""

from __future__ import annotations

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grid import BlockGrid
from mitoscale.dashboard.board import SHOWN_LOST, Board, State, Tally
from mitoscale.dashboard.map_cells import Cells

GRID = BlockGrid(region=Region.of_shape((4, 4, 24)), core_shape=(4, 4, 4), margin=(0, 0, 0))


def board(most: int = 100) -> Board:
    """Of a row of six blocks, with three stages."""
    cells = Cells.fitting(GRID, most)
    rows = Cells(grid=GRID.model_copy(update={"core_shape": (4, 4, 24)}))
    tallies = {"convert": Tally.of(rows, rows.blocks()), "detect": Tally.of(cells, cells.blocks())}
    tallies["stitch"] = Tally.of(cells, cells.faces())
    return Board(
        run="RUN",
        source="x.tif",
        shape=(4, 4, 24),
        spacing=(5.0, 5.0, 5.0),
        cells=cells,
        tallies=tallies,
        stages=("convert", "detect", "stitch"),
        began=0.0,
    )


def name(x: int) -> str:
    return f"z000_y000_x00{x}"


def test_what_is_worst_in_a_cell_is_its_state() -> None:
    tally = board(most=3).tallies["detect"]
    for x in (0, 1, 2):
        tally.finish(name(x))
    assert tally.states().tolist() == [[[State.done, State.partly, State.waiting]]]
    assert tally.states([name(3)]).tolist() == [[[State.done, State.running, State.waiting]]]
    tally.retrying.add(name(3))
    assert tally.states([name(3)]).ravel()[1] == State.retrying
    tally.give_up(name(3), "poison")
    assert tally.states([name(3)]).ravel()[1] == State.quarantined
    assert (tally.tasks, tally.tasks_done, tally.tasks_lost, tally.reasons) == (6, 3, 1, {name(3): "poison"})
    assert not tally.retrying


def test_beginning_again_forgets_all_but_what_is_done() -> None:
    tally = board().tallies["detect"]
    tally.finish(name(0))
    tally.give_up(name(1), "poison")
    tally.begin([name(4), name(5)])
    assert tally.states().ravel().tolist() == [0, 0, 0, 0, State.done, State.done]
    assert tally.tasks_lost == 0 and not tally.reasons


def test_how_far_each_cell_is() -> None:
    watched = board()
    tallies = watched.tallies
    assert watched.furthest().ravel().tolist() == [0] * 6
    tallies["convert"].finish(name(0))  # a row of blocks
    assert watched.furthest().ravel().tolist() == [1] * 6
    tallies["detect"].finish(name(1))
    tallies["detect"].give_up(name(2), "poison")
    tallies["stitch"].finish(name(1) + "+x")
    assert watched.furthest().ravel().tolist() == [1, 3, 2, 1, 1, 1]


def test_time_left_is_what_is_left_at_the_pace_of_now() -> None:
    watched = board()
    assert watched.seconds_left is None
    watched.at_work = "detect"
    watched.pace.begin("detect", 100.0)
    assert watched.seconds_left is None
    for x in range(2):
        watched.tallies["detect"].finish(name(x))
        watched.pace.add(64.0, 110.0 + 10 * x)
    assert watched.seconds_left == 40.0
    watched.tallies["detect"].give_up(name(2), "poison")
    assert watched.seconds_left == 30.0


def test_a_board_travels_whole_and_small() -> None:
    grid = BlockGrid(region=Region.of_shape((6400, 51200, 51200)), core_shape=(64, 512, 512), margin=(0, 0, 0))
    cells = Cells.fitting(grid)
    tally = Tally.of(cells, cells.blocks())
    tally.done[: cells.shape[0] // 2] = tally.total[: cells.shape[0] // 2]
    for number in range(2 * SHOWN_LOST):
        tally.give_up(f"z099_y099_x{number % 100:03d}", "KilledWorker: its worker died")
    assert len(tally.reasons) <= SHOWN_LOST and tally.tasks_lost == 2 * SHOWN_LOST
    sent = board()
    sent.tallies = dict.fromkeys(("detect", "segment", "relabel", "measure"), tally)
    packed = sent.packed()
    assert len(packed) < 20_000
    got = Board.unpacked(packed)
    assert np.array_equal(got.tallies["segment"].states(), tally.states())
