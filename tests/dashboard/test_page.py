"""The page about runs in the dashboard: there on every scheduler, right in its numbers, and harmless."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_tasks import row_of_blocks, square
from bokeh.client import pull_session
from bokeh.models import ColumnDataSource
from bokeh.models.widgets import Div
from by_hand import dask, process, scheduler, wait_for, workers

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.clusters import Cluster, ClusterSettings, start
from mitoscale.core.event import Event
from mitoscale.core.geometry import Region
from mitoscale.core.grid import BlockGrid
from mitoscale.core.result import BlockResult
from mitoscale.dashboard import publishing as publishing_module
from mitoscale.dashboard.block_map import ALL_LAYERS, EVERYTHING
from mitoscale.dashboard.board import Board, Pinned, State, Tally
from mitoscale.dashboard.colours import Legend
from mitoscale.dashboard.map_cells import Cells
from mitoscale.dashboard.page import View
from mitoscale.dashboard.plugin import MOST_BOARDS, Page, add_page, pin
from mitoscale.dashboard.publishing import publishing

STAGES = ("convert", "detect", "segment", "stitch", "relabel", "measure")


def board(run: str, shape: tuple[int, int, int] = (8, 12, 16)) -> Board:
    """Of blocks of four voxels: two layers, three rows, four columns."""
    cells = Cells.fitting(BlockGrid(region=Region.of_shape(shape), core_shape=(4, 4, 4), margin=(0, 0, 0)))
    totals = {name: cells.faces() if name == "stitch" else cells.blocks() for name in STAGES}
    tallies = {name: Tally.of(cells, total) for name, total in totals.items()}
    tallies["convert"].done[:] = tallies["convert"].total
    kept: dict[str, Any] = {"run": run, "source": "x.tif", "shape": shape, "spacing": (5.0, 5.0, 5.0), "cells": cells}
    made = Board(**kept, tallies=tallies, stages=STAGES, began=time.time(), at_work="detect")
    made.pace.begin("detect", time.time() - 10)
    return made


def fill(made: Board) -> None:
    """Three blocks done, one given up, one to be tried again."""
    detect = made.tallies["detect"]
    for x in range(3):
        detect.finish(f"z000_y000_x00{x}")
        made.pace.add(2e6, time.time() - 2 + x)
    detect.retrying.add("z001_y002_x003")
    detect.give_up("z001_y000_x000", "ValueError: <b>poison</b>")
    made.faults.append(Event(kind="raised", stage="detect", task="z001_y002_x003", detail="OSError: stale"))
    made.fault_counts["raised"] += 1


def fetched(link: str) -> str:
    with urllib.request.urlopen(link, timeout=30) as answer:
        return str(answer.read().decode())


@contextmanager
def opened(link: str) -> Iterator[Any]:
    """The page's document, as a browser gets it."""
    session = pull_session(url=link)
    try:
        yield session.document
    finally:
        session.close()


def words(document: Any) -> str:
    """All text of a page, without tags."""
    text = " ".join(div.text for div in document.select({"type": Div}))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def cells_of(document: Any) -> dict[str, np.ndarray]:
    """Columns of the map's source."""
    (source,) = (s for s in document.select({"type": ColumnDataSource}) if "code" in s.data)
    return {name: np.asarray(values) for name, values in source.data.items()}


def page_of(cluster: Cluster) -> str:
    return add_page(cluster.client, cluster.dashboard_link)


def put(cluster: Cluster, made: Board) -> None:
    cluster.client.run_on_scheduler(pin, made.run, cluster.client.id, made.packed())


def test_it_stands_in_the_navigation_of_all_pages(cluster: Cluster) -> None:
    assert page_of(cluster).endswith("/mitoscale")
    for page in ("status", "workers", "mitoscale"):
        assert ">Mitoscale</a>" in fetched(page_of(cluster).replace("mitoscale", page)), page


def test_its_numbers_are_the_boards(cluster: Cluster) -> None:
    made = board("/data/RUN")
    fill(made)
    put(cluster, made)
    with opened(page_of(cluster)) as document:
        columns, said = cells_of(document), words(document)
        legend = Legend(STAGES)
    code = columns["code"].reshape(2, 3, 4)
    expected = np.full((2, 3, 4), legend.code(State.done, "convert"))
    expected[0, 0, :3] = legend.code(State.done, "detect")
    expected[1, 2, 3] = legend.code(State.retrying, "detect")
    expected[1, 0, 0] = legend.code(State.quarantined, "detect")
    assert np.array_equal(code, expected)
    assert np.array_equal(columns["z0"].reshape(2, 3, 4)[:, 0, 0], [0, 4])
    assert columns["lost"].sum() == 1 and columns["total"].sum() == sum(t.tasks for t in made.tallies.values())
    assert "3 / 24 of its tasks done" in said and "detect stage at work, 2 of 6" in said
    assert "given up (quarantined)" in said and "detect z001_y000_x000 ValueError: &lt;b&gt;poison" in said
    assert "0.6 Mvoxel/s now" in said and "OSError: stale" in said and "2 workers" in said
    assert "0:01:07 left in this stage" in said  # twenty tasks, three in ten seconds


def boards_of(cluster: Cluster) -> dict[str, Pinned]:
    """The boards that the scheduler holds."""
    boards: dict[str, Pinned] = cluster.client.cluster.scheduler.plugins[Page.name].boards
    return boards


@pytest.fixture
def view(cluster: Cluster) -> View:
    """The page of a board, without a browser."""
    made = board("/data/RUN")
    fill(made)
    put(cluster, made)
    looked = View(boards_of(cluster), cluster.client.cluster.scheduler)
    looked.update()
    return looked


def test_a_page_that_was_opened_before_there_was_a_run_shows_it_whole(cluster: Cluster) -> None:
    """What is on the page stays; a browser draws nothing of figures that are put into an open page."""
    boards_of(cluster).clear()
    early = View(boards_of(cluster), cluster.client.cluster.scheduler)
    early.update()
    assert "No run has been shown" in early.heading.text
    before = early.root.references()
    put(cluster, board("/data/RUN"))
    early.update()
    assert "/data/RUN" in early.heading.text and len(early.map.source.data["code"]) == 24
    assert early.root.references() == before


def test_one_stage_and_one_layer_can_be_chosen(view: View) -> None:
    assert view.stage.options == [EVERYTHING, *STAGES] and view.layer.options == [ALL_LAYERS, "z 0 to 4", "z 4 to 8"]
    view.stage.value, view.layer.value = "detect", "z 4 to 8"
    columns, legend = view.map.source.data, Legend(STAGES)
    expected = np.full((3, 4), legend.code(State.waiting, "detect"))
    expected[0, 0], expected[2, 3] = legend.code(State.quarantined, "detect"), legend.code(State.retrying, "detect")
    assert np.array_equal(columns["code"].reshape(3, 4), expected)
    assert np.array_equal(columns["lost"].reshape(3, 4), expected == expected[0, 0])
    view.stage.value, view.layer.value = "convert", ALL_LAYERS
    assert (view.map.source.data["code"] == legend.code(State.done, "convert")).all() and len(view.map.source.data["code"]) == 24


def test_what_workers_have_is_shown(cluster: Cluster, view: View) -> None:
    future = cluster.client.submit(time.sleep, 4, key="detect-z000_y001_x000-abc1", pure=False)
    deadline = time.monotonic() + 30
    running = Legend(STAGES).code(State.running, "detect")
    while view.map.source.data["code"][4] != running and time.monotonic() < deadline:
        time.sleep(0.1)
        view.update()
    assert np.flatnonzero(view.map.source.data["code"] == running).tolist() == [4]
    cluster.client.cancel([future])


def test_a_million_blocks_are_shown_quickly(cluster: Cluster) -> None:
    grid = BlockGrid(region=Region.of_shape((6400, 51200, 51200)), core_shape=(64, 512, 512), margin=(0, 0, 0))
    made = board("/data/LARGE")
    made.cells = Cells.fitting(grid)
    made.tallies = {name: Tally.of(made.cells, made.cells.blocks()) for name in STAGES}
    put(cluster, made)
    view = View(boards_of(cluster), cluster.client.cluster.scheduler)
    view.run.value = "/data/LARGE"
    view.update()
    assert 2000 < len(view.map.source.data["code"]) <= 8192
    began = time.process_time()
    for x in range(5):
        made.tallies["convert"].finish(f"z000_y000_x{10 * x:03d}")
        put(cluster, made)
        view.update()
    assert (time.process_time() - began) / 5 < 0.3
    assert view.map.source.data["done"].sum() == 5


def test_old_boards_make_room(cluster: Cluster) -> None:
    page = Page()
    for number in range(MOST_BOARDS + 3):
        page.pin(f"run-{number}", Pinned(client="c", content=b"", time=float(number)))
        page.pin("run-0", Pinned(client="c", content=b"", time=float(number)))
    assert len(page.boards) == MOST_BOARDS and "run-0" in page.boards and "run-1" not in page.boards


def test_a_fault_of_the_page_stays_there(cluster: Cluster, view: View, caplog: pytest.LogCaptureFixture) -> None:
    cluster.client.run_on_scheduler(pin, "/data/RUN", cluster.client.id, b"no board")
    view.update()
    assert "This page has a fault, the run has not" in view.heading.text
    results: list[BlockResult] = []
    assert (
        cluster.executor.run(StageTasks("detect", square), row_of_blocks(6), on_result=results.append) == [] and len(results) == 6
    )
    put(cluster, board("/data/RUN"))
    view.update()
    assert "stage at work, 2 of 6" in view.heading.text


def test_a_board_that_cannot_be_had_does_not_disturb(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(publishing_module, "SECONDS", 0.01)
    asked: list[int] = []

    def breaks() -> bytes:
        asked.append(1)
        raise ValueError("no paper left")

    results: list[BlockResult] = []
    with publishing(cluster.client, "/data/RUN", breaks):
        assert cluster.executor.run(StageTasks("detect", square), row_of_blocks(6), on_result=results.append) == []
        deadline = time.monotonic() + 30
        while len(asked) < publishing_module.FAILURES and time.monotonic() < deadline:
            time.sleep(0.05)
    assert len(results) == 6 and len(asked) == publishing_module.FAILURES
    assert "no paper left" in caplog.text


def test_the_last_news_are_shown_at_the_end(cluster: Cluster) -> None:
    made = board("/data/SHORT")
    with publishing(cluster.client, made.run, made.packed):
        fill(made)
    pinned = cluster.client.cluster.scheduler.plugins[Page.name].boards["/data/SHORT"]
    assert Board.unpacked(pinned.content).tallies["detect"].tasks_done == 3


def test_it_is_added_to_a_scheduler_that_someone_else_started(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "scheduler.log"
    command = dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", f"127.0.0.1:{port}")
    with process(command, log):
        wait_for(log, "Scheduler at")
        where = re.search(r"tcp://127.0.0.1:\d+", log.read_text())
        assert where is not None
        with workers(where[0], [[]], tmp_path):
            for _ in range(2):  # the second run finds it there
                with start(ClusterSettings(kind="address", address=where[0])) as cluster:
                    assert page_of(cluster) == f"http://127.0.0.1:{port}/mitoscale"
                    assert fetched(page_of(cluster).replace("mitoscale", "status")).count(">Mitoscale</a>") == 1
                    put(cluster, board("/data/THERE"))
                    with opened(page_of(cluster)) as document:
                        assert "/data/THERE" in words(document)


def test_a_scheduler_without_a_dashboard_works_without_it(tmp_path: Path) -> None:
    with scheduler("127.0.0.1", 0, tmp_path):
        found = re.search(r"tcp://127.0.0.1:\d+", (tmp_path / "scheduler-0.log").read_text())
        assert found is not None
        with workers(found[0], [[]], tmp_path), start(ClusterSettings(kind="address", address=found[0])) as cluster:
            assert page_of(cluster) == ""
            results: list[BlockResult] = []
            with publishing(cluster.client, "/data/RUN", board("/data/RUN").packed):
                assert cluster.executor.run(StageTasks("detect", square), row_of_blocks(3), on_result=results.append) == []
            assert len(results) == 3
