"""Groups that attract and repel."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.ops.agglomerate import Groups


def grouped(count: int, pairs: list[tuple[int, int]], weights: list[float]) -> list[int]:
    groups = Groups(count)
    groups.add(np.array(pairs, np.int64).reshape(-1, 2), np.array(weights))
    groups.join()
    return groups.numbers().tolist()


def test_one_wrong_pair_is_outvoted() -> None:
    """Two chains that repel each other all along, and one attraction between them."""
    chain = [(i, i + 1) for i in range(1, 6)] + [(i, i + 1) for i in range(7, 12)]
    apart = [(i, i + 6) for i in range(1, 7)]
    found = grouped(13, [*chain, *apart, (3, 10)], [0.8] * 10 + [-1.0] * 6 + [0.7])
    assert found == [0] + [1] * 6 + [2] * 6


def test_a_pair_that_comes_twice_counts_twice() -> None:
    assert grouped(3, [(1, 2), (2, 1), (1, 2)], [0.5, 0.5, -0.9]) == [0, 1, 1]
    assert grouped(3, [(1, 2), (1, 2)], [0.5, -0.6]) == [0, 1, 2]


def test_pairs_can_be_added_between_joins() -> None:
    groups = Groups(4)
    groups.add(np.array([[1, 2]]), np.array([0.5]))
    groups.join()
    groups.add(np.array([[2, 3], [1, 3]]), np.array([0.5, -0.9]))
    groups.join()
    assert groups.numbers().tolist() == [0, 1, 1, 2]
    assert len(set(groups.roots()[1:3].tolist())) == 1


PAIRS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)).filter(lambda p: p[0] != p[1]), max_size=30)


@settings(max_examples=100)
@given(PAIRS, st.data())
def test_invariants(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    """Nothing that still attracts is left apart; the background is alone; the order in which pairs are said does not matter."""
    weights = data.draw(st.lists(st.sampled_from([-1.0, -0.5, 0.25, 0.5, 1.0]), min_size=len(pairs), max_size=len(pairs)))
    found = grouped(10, pairs, weights)
    assert found.count(0) == 1 and found[0] == 0
    between: dict[tuple[int, int], float] = {}
    for (a, b), weight in zip(pairs, weights, strict=True):
        if found[a] != found[b]:
            ends = min(found[a], found[b]), max(found[a], found[b])
            between[ends] = between.get(ends, 0.0) + weight
    assert all(total <= 0 for total in between.values())
    order = data.draw(st.permutations(range(len(pairs))))
    assert grouped(10, [pairs[i] for i in order], [weights[i] for i in order]) == found
