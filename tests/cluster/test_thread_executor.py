"""Tasks on threads of this process: as many at once as there are threads, tried again, given up, and stopped like on a cluster."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.retries import RETRIES
from mitoscale.cluster.thread_executor import ThreadExecutor, on_threads
from mitoscale.core.errors import BlockError, DamagedError, StoppedError
from mitoscale.core.event import Event
from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, BlockGrid
from mitoscale.core.result import BlockResult

BLOCKS = list(BlockGrid(region=Region.of_shape((4, 8, 12)), core_shape=(4, 4, 4), margin=(0, 0, 0)).blocks())
BAD = BLOCKS[2].name

AtOnce = ThreadExecutor(2, waits=(0.0,))


def failing(error: Exception, times: int) -> tuple[Callable[[Block], BlockResult], Counter[str]]:
    """A task that raises so often for one block, and how often each was tried."""
    tries: Counter[str] = Counter()

    def task(key: Block) -> BlockResult:
        tries[key.name] += 1
        if key.name == BAD and tries[BAD] <= times:
            raise error
        return BlockResult(name=key.name)

    return task, tries


def test_two_threads_work_at_once_and_never_more() -> None:
    both, at_work, most = threading.Barrier(2), [0], [0]
    lock, results, heard_in = threading.Lock(), list[str](), set[int]()

    def task(key: Block) -> BlockResult:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        both.wait(timeout=20)  # passes only where another task is under way
        with lock:
            at_work[0] -= 1
        return BlockResult(name=key.name)

    def hear(result: BlockResult) -> None:
        results.append(result.name)
        heard_in.add(threading.get_ident())

    assert AtOnce.run(StageTasks("detect", task), iter(BLOCKS), on_result=hear) == []
    assert sorted(results) == [block.name for block in BLOCKS]
    assert most[0] == 2 and heard_in == {threading.get_ident()}


def test_what_raises_is_tried_again_after_all_others() -> None:
    task, tries = failing(OSError("try again"), times=RETRIES)
    results, events = list[str](), list[Event]()
    assert AtOnce.run(StageTasks("detect", task), BLOCKS, on_result=lambda r: results.append(r.name), on_event=events.append) == []
    assert results[-1] == BAD and len(results) == len(BLOCKS)
    assert tries[BAD] == RETRIES + 1
    assert [event.kind for event in events] == ["raised"] * RETRIES + ["healed"]


def test_what_always_raises_is_given_up_and_the_others_are_done() -> None:
    task, tries = failing(BlockError("cannot be computed\nsecond line"), times=99)
    results = list[str]()
    (failure,) = AtOnce.run(StageTasks("detect", task), BLOCKS, on_result=lambda r: results.append(r.name))
    assert failure.name == BAD and failure.error == "BlockError: cannot be computed" and "in task" in failure.traceback
    assert tries[BAD] == RETRIES + 1 and sorted(results) == [b.name for b in BLOCKS if b.name != BAD]


def test_damage_to_an_earlier_task_is_told_at_once() -> None:
    task, tries = failing(DamagedError("convert", "z000_y000_x000", "nothing there"), times=99)
    (failure,) = AtOnce.run(StageTasks("detect", task), BLOCKS, on_result=lambda r: None)
    assert failure.damaged == ("convert", "z000_y000_x000") and tries[BAD] == 1


def test_a_full_disk_stops_it() -> None:
    task, tries = failing(StoppedError("disk full"), times=99)
    with pytest.raises(StoppedError, match="disk full"):
        AtOnce.run(StageTasks("detect", task), BLOCKS, on_result=lambda r: None)
    assert tries[BAD] == 1


def test_tasks_get_their_threads_and_the_environment_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITOSCALE_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with on_threads(2) as executor:
        assert os.environ["MITOSCALE_THREADS"] == os.environ["MKL_NUM_THREADS"] == "2"
        assert executor.threads == max(1, len(os.sched_getaffinity(0)) // 2)
    assert os.environ["MITOSCALE_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ
