"""Raw ids and the merge of fragments into objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.core.errors import InputError
from mitoscale.ops.global_ids import merge, pack, unpack

NONE = np.zeros((0, 2), np.uint64)


@given(st.integers(0, 2**40 - 1), st.lists(st.integers(0, 2**24 - 1)))
def test_unpack_undoes_pack(block: int, local: list[int]) -> None:
    raw = pack(block, np.array(local, np.uint32))
    assert raw.dtype == np.uint64
    numbers, locals_ = unpack(raw)
    assert numbers.tolist() == [block] * len(local)
    assert locals_.tolist() == local


def test_more_than_an_id_can_hold_is_told() -> None:
    with pytest.raises(InputError, match="block 3 has fragment 16777216, the limit is 16777215"):
        pack(3, np.array([1, 2**24], np.uint32))
    with pytest.raises(InputError, match="block 1099511627776"):
        pack(2**40, np.array([1], np.uint32))


def test_blocks_beyond_the_32nd_bit_stay_apart() -> None:
    """Ids packed into 32 bits stop at a few ten thousand blocks."""
    raw = np.concatenate([pack(b, np.array([1], np.uint32)) for b in (1, 2**8 + 1, 2**16 + 1, 2**36 + 1)])
    assert merge(raw, NONE).tolist() == [1, 2, 3, 4]


def test_nothing_merges_to_nothing() -> None:
    assert merge(np.zeros(0, np.uint64), NONE).shape == (0,)


def test_labels_follow_the_smallest_raw_id() -> None:
    raw = np.array([2, 4, 6, 8, 10], np.uint64)
    labels = merge(raw, np.array([[10, 4], [8, 2]], np.uint64))
    assert labels.dtype == np.uint64
    assert labels.tolist() == [1, 2, 3, 1, 2]


@pytest.mark.parametrize("edge", [[1, 2], [4, 5], [2, 2**40]])
def test_an_edge_to_an_unknown_fragment_is_told(edge: list[int]) -> None:
    with pytest.raises(InputError, match="an edge names fragment"):
        merge(np.array([2, 4], np.uint64), np.array([edge], np.uint64))
    with pytest.raises(InputError, match="an edge names fragment"):
        merge(np.zeros(0, np.uint64), np.array([edge], np.uint64))


@pytest.mark.parametrize("raw", [[4, 2], [2, 2]])
def test_raw_ids_out_of_order_are_refused(raw: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        merge(np.array(raw, np.uint64), NONE)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Raw ids above 2^53, where a float would lose them, and edges between them, some given twice."""
    offsets = draw(st.lists(st.integers(0, 1000), min_size=1, unique=True))
    raw = np.sort(np.array(offsets, np.uint64)) + np.uint64(2**60)
    ends = st.integers(0, len(raw) - 1)
    edges = draw(st.lists(st.tuples(ends, ends), max_size=60))
    return raw, raw[np.array(edges, np.int64).reshape(-1, 2)]


@given(graphs(), st.randoms(use_true_random=False))
def test_merge_is_plain_components_whatever_the_order(graph: tuple[np.ndarray, np.ndarray], random: object) -> None:
    raw, edges = graph
    labels = merge(raw, edges)
    group = {int(r): int(r) for r in raw}
    changed = True
    while changed:  # the smallest id spreads over the edges
        changed = False
        for a, b in edges.tolist():
            least = min(group[a], group[b])
            changed |= group[a] != least or group[b] != least
            group[a] = group[b] = least
    smallest = sorted(set(group.values()))
    assert labels.tolist() == [smallest.index(group[int(r)]) + 1 for r in raw]
    order = list(range(len(edges)))
    random.shuffle(order)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(merge(raw, edges[order][:, ::-1]), labels)


@given(graphs())
def test_merging_in_two_steps_is_merging_at_once(graph: tuple[np.ndarray, np.ndarray]) -> None:
    raw, edges = graph
    half = merge(raw, edges[: len(edges) // 2])
    rest = half[np.searchsorted(raw, edges[len(edges) // 2 :])]
    names = np.unique(half)
    np.testing.assert_array_equal(merge(names, rest)[np.searchsorted(names, half)], merge(raw, edges))
