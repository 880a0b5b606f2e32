"""Several keys that travel as one task: each is done, fails and is tried again by itself."""

from __future__ import annotations

import pickle
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from block_tasks import die_at, disk_full_at, fail_at, fail_once, row_of_blocks, square
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.cluster.bundle import Bundling, Raised, StageTasks, bundles, call, pack
from mitoscale.cluster.clusters import Cluster
from mitoscale.cluster.executor import DaskExecutor
from mitoscale.cluster.retries import DEATHS_ALONE, DEATHS_IN_COMPANY
from mitoscale.core.errors import StoppedError
from mitoscale.core.event import Event
from mitoscale.core.grid import Block
from mitoscale.core.overhead import bundle_size
from mitoscale.core.result import BlockResult

BLOCKS = row_of_blocks(40)


@given(st.lists(st.integers()), st.integers(1, 9))
def test_bundles_are_the_keys_in_order_and_all_but_the_last_are_full(keys: list[int], size: int) -> None:
    made = list(bundles(keys, size))  # type: ignore[arg-type]
    assert [key for bundle in made for key in bundle] == keys
    assert all(len(bundle) == size for bundle in made[:-1]) and all(0 < len(bundle) <= size for bundle in made)


def test_keys_are_taken_as_bundles_are_asked_for() -> None:
    taken = iter(BLOCKS)
    next(bundles(taken, 3))
    assert next(taken) == BLOCKS[3]


def test_bundles_follow_what_keys_take() -> None:
    bundling = Bundling()
    assert bundling.size(100) == 1
    bundling.note(BlockResult(name="a"))
    assert bundling.size(100) == 1  # it told no times
    for _ in range(100):
        bundling.note(BlockResult(name="a", seconds={"read": 0.01, "compute": 0.09}))
    assert bundling.size(100) == bundle_size(0.1, 100) == 7
    for _ in range(100):
        bundling.note(BlockResult(name="a", seconds={"compute": 10.0}))
    assert bundling.size(100) == 1
    assert Bundling(7).size(1) == 7


class _OddError(Exception):
    def __reduce__(self) -> tuple:
        raise TypeError("cannot be pickled")


def odd(key: Block) -> BlockResult:
    raise _OddError("of no use elsewhere")


def test_each_key_of_a_bundle_has_an_answer_of_its_own(tmp_path: Path) -> None:
    function = pickle.dumps(partial(fail_at, place=1, folder=str(tmp_path)))
    first, second, third = call(function, pack(BLOCKS[:3]))
    assert [first, third] == [square(BLOCKS[0]), square(BLOCKS[2])]
    assert isinstance(second, Raised) and isinstance(second.error, ValueError) and "in fail_at" in second.traceback
    with pytest.raises(ValueError, match="no membrane"):
        call(function, pack(BLOCKS[1:2]))
    (alone, _) = call(pickle.dumps(odd), pack(BLOCKS[:2]))
    assert isinstance(alone, Raised) and str(pickle.loads(pickle.dumps(alone)).error) == "_OddError: of no use elsewhere"


def test_a_full_disk_ends_a_bundle_at_once(tmp_path: Path) -> None:
    answers = call(pickle.dumps(partial(disk_full_at, place=1, folder=str(tmp_path))), pack(BLOCKS[:3]))
    assert len(answers) == 2 and isinstance(answers[1], StoppedError)
    assert len(list(tmp_path.iterdir())) == 2


def run(cluster: Cluster, function: object, blocks: list[Block], bundle: int = 5, **hears: object) -> tuple:
    executor = DaskExecutor(cluster.client, place=cluster.placement.of, waits=(0.1,), bundle=bundle)
    results: list[BlockResult] = []
    failures = executor.run(StageTasks("detect", function), blocks, on_result=results.append, **hears)  # type: ignore[arg-type]
    return sorted(results, key=lambda r: r.counts["square"]), failures


def test_results_in_bundles_are_those_one_by_one(cluster: Cluster) -> None:
    assert run(cluster, square, BLOCKS) == run(cluster, square, BLOCKS, bundle=1) == ([square(b) for b in BLOCKS], [])


def test_what_raises_in_a_bundle_is_tried_again_by_itself(cluster: Cluster, tmp_path: Path) -> None:
    events: list[Event] = []
    results, (failure,) = run(cluster, partial(fail_at, place=7, folder=str(tmp_path)), BLOCKS, on_event=events.append)
    assert results == [square(b) for b in BLOCKS if b != BLOCKS[7]]
    assert failure.name == BLOCKS[7].name and failure.attempts == 3 and "in fail_at" in failure.traceback
    assert _tries(tmp_path) == {**dict.fromkeys((b.name for b in BLOCKS), 1), BLOCKS[7].name: 3}
    assert Counter(e.kind for e in events) == {"raised": 3}


def test_a_bundle_whose_every_key_raises_once_is_healed(cluster: Cluster, tmp_path: Path) -> None:
    results, failures = run(cluster, partial(fail_once, folder=str(tmp_path)), BLOCKS[:12])
    assert results == [square(b) for b in BLOCKS[:12]] and failures == []


def test_a_full_disk_in_a_bundle_stops_the_run(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="the disk is full"):
        run(cluster, partial(disk_full_at, place=2, folder=str(tmp_path)), BLOCKS)


def test_a_killer_in_a_bundle_is_found_and_its_company_is_done(cluster: Cluster, tmp_path: Path) -> None:
    events: list[Event] = []
    results, (failure,) = run(cluster, partial(die_at, place=3, folder=str(tmp_path)), BLOCKS[:12], on_event=events.append)
    assert results == [square(b) for b in BLOCKS[:12] if b != BLOCKS[3]]
    assert failure.name == BLOCKS[3].name and "out of memory" in failure.error
    assert DEATHS_IN_COMPANY + DEATHS_ALONE <= _tries(tmp_path)[BLOCKS[3].name] <= DEATHS_IN_COMPANY + DEATHS_ALONE + 2
    assert any(BLOCKS[3].name in e.detail and BLOCKS[2].name in e.detail for e in events if e.kind == "worker lost")


def _tries(folder: Path) -> dict[str, int]:
    """How often each block was begun."""
    return dict(Counter(path.name.rpartition("-")[0] for path in folder.iterdir()))
