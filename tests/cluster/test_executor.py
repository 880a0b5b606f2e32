from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, overload

import pytest
from distributed import Worker

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.clusters import Cluster
from mitoscale.cluster.executor import RETRIES, DaskExecutor, Executor, SerialExecutor
from mitoscale.cluster.retries import DEATHS_ALONE, DEATHS_IN_COMPANY
from mitoscale.cluster.task_pool import IN_FLIGHT
from mitoscale.core.errors import BlockError, DamagedError, StoppedError
from mitoscale.core.event import Event
from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, BlockGrid, Face
from mitoscale.core.result import BlockResult

GRID = BlockGrid(region=Region.of_shape((8, 16, 24)), core_shape=(4, 4, 4), margin=(0, 0, 0))


def measured(key: Block | Face) -> BlockResult:
    block = key if isinstance(key, Block) else key.low
    return BlockResult(name=key.name, checksum=str(block.core), counts={"voxels": block.core.size})


def noted(folder: str, key: Block) -> BlockResult:
    """Leaves one line for each try."""
    with Path(folder, key.name).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return measured(key)


def raises(bad: str, folder: str, key: Block) -> BlockResult:
    noted(folder, key)
    if key.name == bad:
        raise BlockError(f"{key.name} cannot be computed\nsecond line")
    return measured(key)


def raises_twice(bad: str, folder: str, key: Block) -> BlockResult:
    noted(folder, key)
    if key.name == bad and tries(folder, bad) < 3:
        raise OSError("try again")
    return measured(key)


def kills(bad: str, times: int, folder: str, key: Block) -> BlockResult:
    noted(folder, key)
    if key.name == bad and tries(folder, bad) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return measured(key)


def kills_then_raises(bad: str, deaths: int, errors: int, folder: str, key: Block) -> BlockResult:
    noted(folder, key)
    if key.name == bad:
        if tries(folder, bad) <= deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if tries(folder, bad) <= deaths + errors:
            raise OSError("try again")
    return measured(key)


def fails_always(key: Block) -> BlockResult:
    raise OSError("try again")


def disk_full(bad: str, folder: str, key: Block) -> BlockResult:
    noted(folder, key)
    if key.name == bad:
        raise StoppedError("disk full")
    return measured(key)


def tries(folder: str | Path, name: str) -> int:
    return len(Path(folder, name).read_text().splitlines())


def damaged(key: Block) -> BlockResult:
    if key.index == (0, 0, 1):
        raise DamagedError("convert", "z000_y000_x000", "nothing there")
    return measured(key)


def slow(key: Block) -> BlockResult:
    time.sleep(0.2)
    return measured(key)


def run(executor: Executor, function: object, keys: Sequence[Block | Face], stage: str = "detect", **hears: Any) -> tuple:
    results: list[BlockResult] = []
    failures = executor.run(StageTasks(stage, function), keys, on_result=results.append, **hears)  # type: ignore[arg-type]
    return sorted(results, key=lambda r: r.name), failures


class Counting(Sequence[Block]):
    """Keys that count how many of them were taken."""

    def __init__(self, keys: list[Block]) -> None:
        self.keys, self.taken = keys, 0

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Block]: ...
    def __getitem__(self, index: int | slice) -> Block | Sequence[Block]:
        return self.keys[index]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Block]:
        for key in self.keys:
            self.taken += 1
            yield key


@pytest.fixture
def blocks() -> list[Block]:
    return list(GRID.blocks())


def test_results_are_those_of_the_serial_executor(cluster: Cluster, blocks: list[Block]) -> None:
    expected = run(SerialExecutor(), measured, blocks)
    assert len(expected[0]) == len(GRID)
    assert run(cluster.executor, measured, blocks) == expected


def test_faces_are_keys_too(cluster: Cluster) -> None:
    faces = list(GRID.faces())
    results, failures = run(cluster.executor, measured, faces, stage="stitch")
    assert [r.name for r in results] == sorted(f.name for f in faces) and failures == []


def test_nothing_to_do_is_done(cluster: Cluster) -> None:
    assert run(cluster.executor, measured, []) == run(SerialExecutor(), measured, []) == ([], [])


def test_number_in_flight_is_bounded(cluster: Cluster, blocks: list[Block]) -> None:
    keys, returned, highest = Counting(blocks), 0, 0

    def count(result: BlockResult) -> None:
        nonlocal returned, highest
        highest = max(highest, keys.taken - returned)
        returned += 1

    assert cluster.executor.run(StageTasks("detect", measured), keys, on_result=count) == []
    assert returned == len(blocks)
    assert cluster.workers < highest <= IN_FLIGHT * cluster.workers


def test_results_are_handed_over_in_the_callers_thread(cluster: Cluster, blocks: list[Block]) -> None:
    threads = set()
    cluster.executor.run(StageTasks("detect", measured), blocks[:4], on_result=lambda _: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


def test_same_keys_again_are_computed_again(cluster: Cluster, blocks: list[Block], tmp_path: Path) -> None:
    for _ in range(2):
        run(cluster.executor, partial(noted, str(tmp_path)), blocks[:3])
    assert [tries(tmp_path, b.name) for b in blocks[:3]] == [2, 2, 2]


def test_tasks_are_grouped_by_stage(cluster: Cluster, blocks: list[Block]) -> None:
    run(cluster.executor, measured, blocks[:3], stage="relabel")
    run(cluster.executor, measured, list(GRID.faces())[:3], stage="stitch")
    names = cluster.client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    assert {"relabel", "stitch"} <= set(names)


def test_a_block_that_raises_is_a_failure_and_the_others_are_done(cluster: Cluster, blocks: list[Block], tmp_path: Path) -> None:
    bad = blocks[5].name
    results, failures = run(cluster.executor, partial(raises, bad, str(tmp_path)), blocks)
    assert [r.name for r in results] == [b.name for b in blocks if b.name != bad]
    (failure,) = failures
    assert failure.name == bad and failure.error == f"BlockError: {bad} cannot be computed"
    assert "in raises" in failure.traceback and "second line" in failure.traceback
    assert tries(tmp_path, bad) == 1 + cluster.executor.retries
    serial = run(SerialExecutor(), partial(raises, bad, str(tmp_path)), blocks)
    assert serial[0] == results and [(f.name, f.error) for f in serial[1]] == [(bad, failure.error)]
    assert "in raises" in serial[1][0].traceback


def test_a_passing_error_is_tried_again(cluster: Cluster, blocks: list[Block], tmp_path: Path) -> None:
    events: list[Event] = []
    function = partial(raises_twice, blocks[0].name, str(tmp_path))
    results, failures = run(cluster.executor, function, blocks[:6], on_event=events.append)
    assert len(results) == 6 and failures == []
    assert [(e.kind, e.task, e.attempt) for e in events] == [(k, blocks[0].name, n) for k, n in _TWICE]
    assert events[0].detail == "OSError: try again" and events[0].stage == "detect"


_TWICE = [("raised", 1), ("raised", 2), ("healed", 3)]


@pytest.mark.parametrize("make", [lambda c: c.executor, lambda c: SerialExecutor()], ids=["dask", "serial"])
def test_damage_is_told_with_its_task_and_not_tried_again(cluster: Cluster, blocks: list[Block], make: Any) -> None:
    results, (failure,) = run(make(cluster), damaged, blocks[:4])
    assert len(results) == 3
    assert failure.damaged == ("convert", "z000_y000_x000") and failure.attempts == 1


def test_when_all_fail_one_after_the_other_the_run_stops(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="100 tasks in a row failed, the last with OSError: try again"):
        run(cluster.executor, fails_always, list(GRID.blocks()) * 3)


def test_what_is_in_flight_follows_workers_that_join_and_leave(cluster: Cluster, blocks: list[Block]) -> None:
    taken, returned, highest = 0, 0, [0]
    events: list[Event] = []
    deadline = time.monotonic() + 120

    def keys() -> Iterator[Block]:
        """Blocks over and over, until the third worker has shown."""
        nonlocal taken
        for block in cycle(blocks):
            if highest[-1] > 2 * IN_FLIGHT or time.monotonic() > deadline:
                return
            taken += 1
            yield block

    def count(result: BlockResult) -> None:
        nonlocal returned
        highest.append(taken - returned)
        returned += 1
        if returned == 4:
            joined.append(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}))

    joined: list[subprocess.Popen[bytes]] = []
    address = cluster.client.scheduler_info()["address"]
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    try:
        assert cluster.executor.run(StageTasks("detect", slow), keys(), on_result=count, on_event=events.append) == []
    finally:
        for process in joined:
            process.terminate()
            process.wait(timeout=60)
    assert max(highest[:5]) <= 2 * IN_FLIGHT < max(highest) <= 3 * IN_FLIGHT
    assert "worker joined" in {e.kind for e in events}


@pytest.mark.parametrize("make", [lambda c: c.executor, lambda c: SerialExecutor()], ids=["dask", "serial"])
def test_full_disk_stops_the_run_at_once(cluster: Cluster, blocks: list[Block], tmp_path: Path, make: object) -> None:
    with pytest.raises(StoppedError, match="disk full"):
        run(make(cluster), partial(disk_full, blocks[0].name, str(tmp_path)), blocks)  # type: ignore[operator]
    assert tries(tmp_path, blocks[0].name) == 1
    assert len(list(tmp_path.iterdir())) < len(blocks)


def test_an_error_while_results_are_kept_ends_the_run(cluster: Cluster, blocks: list[Block]) -> None:
    def refuse(result: BlockResult) -> None:
        raise StoppedError("ledger cannot be written")

    with pytest.raises(StoppedError, match="ledger"):
        cluster.executor.run(StageTasks("detect", measured), blocks, on_result=refuse)
    assert run(cluster.executor, measured, blocks[:2])[1] == []  # the cluster is still usable


def test_a_worker_that_is_killed_once_costs_nothing(cluster: Cluster, blocks: list[Block], tmp_path: Path) -> None:
    events: list[Event] = []
    function = partial(kills, blocks[3].name, 1, str(tmp_path))
    results, failures = run(cluster.executor, function, blocks[:12], on_event=events.append)
    assert [r.name for r in results] == [b.name for b in blocks[:12]] and failures == []
    lost = [e for e in events if e.kind == "worker lost" and e.worker.startswith("tcp://127.0.0.1:")]
    assert any(blocks[3].name in e.detail for e in lost), lost


def test_a_worker_that_dies_between_two_stages_is_told_in_the_next(cluster: Cluster, blocks: list[Block]) -> None:
    run(cluster.executor, measured, blocks[:2])  # it listens from the first stage on
    lost, process = next(iter(cluster.client.run(os.getpid).items()))
    os.kill(process, signal.SIGKILL)
    ends = time.monotonic() + 60
    while lost in cluster.client.scheduler_info()["workers"]:
        assert time.monotonic() < ends
        time.sleep(0.1)
    events: list[Event] = []
    run(cluster.executor, measured, blocks[:2], on_event=events.append)
    assert [e.worker for e in events if e.kind == "worker lost"] == [lost]


def test_a_block_that_always_kills_its_worker_is_given_up_and_the_others_are_done(
    cluster: Cluster, blocks: list[Block], tmp_path: Path
) -> None:
    bad = blocks[3].name
    results, failures = run(cluster.executor, partial(kills, bad, 99, str(tmp_path)), blocks[:12])
    assert [r.name for r in results] == [b.name for b in blocks[:12] if b.name != bad]
    (failure,) = failures
    assert failure.name == bad and "out of memory" in failure.error and "--block" in failure.error
    # Dask may start the task once more before it hears that the task was taken back, both times.
    assert DEATHS_IN_COMPANY + DEATHS_ALONE <= tries(tmp_path, bad) <= DEATHS_IN_COMPANY + DEATHS_ALONE + 2


def test_a_block_that_runs_alone_may_raise_as_often_as_any_other(cluster: Cluster, blocks: list[Block], tmp_path: Path) -> None:
    """It may have been there by chance when workers died; an error that passes then costs nothing."""
    bad, events = blocks[3].name, list[Event]()
    function = partial(kills_then_raises, bad, DEATHS_IN_COMPANY, RETRIES, str(tmp_path))
    results, failures = run(cluster.executor, function, blocks[:12], on_event=events.append)
    assert failures == [] and [r.name for r in results] == [b.name for b in blocks[:12]]
    kinds = [e.kind for e in events if e.task == bad]
    # Dask may start it once more before it hears that it was taken back; nobody hears of an error then.
    assert kinds[0] == "taken back" and kinds[-1] == "healed" and set(kinds[1:-1]) == {"raised"}, kinds


def test_a_resource_that_is_there_is_used(cluster: Cluster, blocks: list[Block]) -> None:
    executor = DaskExecutor(cluster.client, place=cluster.placement.of)
    results: list[BlockResult] = []
    cluster.client.wait_for_workers(1, timeout=120)  # the test before may have killed them all

    async def offer(dask_worker: Worker) -> None:
        await dask_worker.set_resources(GPU=1)

    cluster.client.run(offer)
    failures = executor.run(StageTasks("detect", measured, resource="GPU", priority=3), blocks[:8], on_result=results.append)
    assert len(results) == 8 and failures == []


def test_each_stage_has_a_report_of_dask_on_request(cluster: Cluster, blocks: list[Block], tmp_path: Path) -> None:
    cluster.executor.reports = str(tmp_path / "reports")
    try:
        run(cluster.executor, measured, blocks[:3], stage="detect")
    finally:
        cluster.executor.reports = None
    run(cluster.executor, measured, blocks[:3], stage="segment")
    (report,) = (tmp_path / "reports").iterdir()
    assert report.name == "detect.html" and "Dask Performance Report" in report.read_text()
