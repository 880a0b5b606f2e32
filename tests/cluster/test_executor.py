from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import overload

import pytest
from distributed import Worker

from mitoscale.cluster.clusters import Cluster
from mitoscale.cluster.executor import (
    DEATHS_ALONE,
    DEATHS_IN_COMPANY,
    IN_FLIGHT,
    DaskExecutor,
    Executor,
    SerialExecutor,
)
from mitoscale.core.errors import BlockError, StoppedError
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


def disk_full(bad: str, folder: str, key: Block) -> BlockResult:
    noted(folder, key)
    if key.name == bad:
        raise StoppedError("disk full")
    return measured(key)


def tries(folder: str | Path, name: str) -> int:
    return len(Path(folder, name).read_text().splitlines())


def run(executor: Executor, function: object, keys: Sequence[Block | Face], stage: str = "detect") -> tuple:
    results: list[BlockResult] = []
    failures = executor.run(stage, function, keys, on_result=results.append)  # type: ignore[arg-type]
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

    assert cluster.executor.run("detect", measured, keys, on_result=count) == []
    assert returned == len(blocks)
    assert cluster.workers < highest <= IN_FLIGHT * cluster.workers


def test_results_are_handed_over_in_the_callers_thread(cluster: Cluster, blocks: list[Block]) -> None:
    threads = set()
    cluster.executor.run("detect", measured, blocks[:4], on_result=lambda _: threads.add(threading.get_ident()))
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
    results, failures = run(cluster.executor, partial(raises_twice, blocks[0].name, str(tmp_path)), blocks[:6])
    assert len(results) == 6 and failures == []


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
        cluster.executor.run("detect", measured, blocks, on_result=refuse)
    assert run(cluster.executor, measured, blocks[:2])[1] == []  # the cluster is still usable


def test_a_worker_that_is_killed_once_costs_nothing(cluster: Cluster, blocks: list[Block], tmp_path: Path) -> None:
    results, failures = run(cluster.executor, partial(kills, blocks[3].name, 1, str(tmp_path)), blocks[:12])
    assert [r.name for r in results] == [b.name for b in blocks[:12]] and failures == []


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


def test_a_resource_that_is_there_is_used(cluster: Cluster, blocks: list[Block]) -> None:
    executor = DaskExecutor(cluster.client, place=cluster.placement.of)
    results: list[BlockResult] = []

    async def offer(dask_worker: Worker) -> None:
        await dask_worker.set_resources(GPU=1)

    cluster.client.run(offer)
    failures = executor.run("detect", measured, blocks[:8], on_result=results.append, resource="GPU", priority=3)
    assert len(results) == 8 and failures == []
