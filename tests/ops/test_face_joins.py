"""What two neighbouring blocks' fragments are to each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mitoscale.ops.face_joins import Edges, face_edges

LABELS = arrays.arrays(np.uint32, st.just((4, 5, 6)), elements=st.integers(0, 4))


def empty(shape: tuple[int, int, int] = (6, 10, 16)) -> np.ndarray:
    return np.zeros(shape, np.uint32)


def listed(edges: Edges) -> dict[tuple[int, int], bool]:
    """Pairs of fragments and whether each is accepted."""
    return {(int(a), int(b)): bool(ok) for a, b, ok in zip(edges["low"], edges["high"], edges["accepted"], strict=True)}


def test_nothing_gives_no_edges_of_the_right_kinds() -> None:
    edges = face_edges(empty(), empty(), 2, 8)
    assert {name: (values.dtype.str, len(values)) for name, values in edges.items()} == {
        "low": ("<u4", 0),
        "high": ("<u4", 0),
        "strength": ("<f4", 0),
        "accepted": ("|b1", 0),
    }


def test_strength_is_the_mean_of_both_fractions() -> None:
    low, high = empty(), empty()
    low[0, 0, 4:12], high[0, 0, 6:12] = 3, 9
    edges = face_edges(low, high, 2, 8)
    assert listed(edges) == {(3, 9): True}
    assert edges["strength"][0] == pytest.approx((6 / 8 + 6 / 6) / 2)


def test_a_diagonal_bar_is_one_piece() -> None:
    low, high = empty(), empty()
    for i in range(4, 12):
        low[0, i - 3, i] = 3
    for i in range(7, 12):
        high[0, i - 3, i] = 9
    assert face_edges(low, high, 2, 8)["strength"].tolist() == pytest.approx([(5 / 8 + 1) / 2])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("start", "joined"), [(5, True), (8, True), (9, False)])
def test_pieces_that_do_not_reach_the_face_are_not_joined(axis: int, start: int, joined: bool) -> None:
    bar = empty((4, 4, 16))
    bar[1, 1, start : start + 4] = 7
    bar = np.moveaxis(bar, 2, axis)
    assert listed(face_edges(bar, bar, axis, 8)) == ({(7, 7): True} if joined else {})


def test_touching_neighbours_are_not_fused_by_touching_across_the_face() -> None:
    """One ends where the other begins, in both blocks alike: plain face adjacency would join them."""
    both = empty()
    both[:, :, :8], both[:, :, 8:] = 1, 2
    assert listed(face_edges(both, both, 2, 8)) == {(1, 1): True, (2, 2): True}


def test_touching_tubes_with_ragged_outlines_stay_two() -> None:
    low, high = empty(), empty()
    low[:, :5], low[:, 5:] = 1, 2
    high[:, :6], high[:, 6:] = 8, 9
    assert listed(face_edges(low, high, 2, 8)) == {(1, 8): True, (2, 9): True}


def test_a_w_is_joined_through_both_of_its_arms() -> None:
    """One fragment before the face, two behind it: as whole fragments each arm covers less than half of it."""
    low, high = empty((4, 24, 16)), empty((4, 24, 16))
    low[1:3, 2:22, 0:3] = 5
    for i, y in enumerate((2, 10, 18)):
        low[1:3, y : y + 4, 0:16] = 5
        high[1:3, y : y + 4, 4:16] = i + 1  # the block behind does not see the bar that connects the arms
        high[1:3, y : y + 4, 0:4] = i + 1
    assert listed(face_edges(low, high, 2, 8)) == {(5, 1): True, (5, 2): True, (5, 3): True}


def test_a_pair_below_the_limit_is_listed_and_refused() -> None:
    low, high = empty(), empty()
    low[0, 0, 2:12], high[0, 0, 8:16] = 1, 2
    edges = face_edges(low, high, 2, 8)
    assert listed(edges) == {(1, 2): False}
    assert edges["strength"][0] == pytest.approx((4 / 10 + 4 / 8) / 2)
    assert listed(face_edges(low, high, 2, 8, overlap=0.4)) == {(1, 2): True}


def split(gap: int) -> tuple[np.ndarray, np.ndarray]:
    """One piece before the face that is two behind it, ``gap`` voxels apart."""
    low, high = empty((4, 12, 16)), empty((4, 12, 16))
    low[1:3, 0:11] = 1
    high[1:3, 0:6], high[1:3, 6 + gap : 11] = 1, 2
    return low, high


def test_a_second_partner_is_taken_where_the_partners_do_not_touch() -> None:
    low, high = split(gap=1)
    assert listed(face_edges(low, high, 2, 8)) == {(1, 1): True, (1, 2): True}
    assert listed(face_edges(high, low, 2, 8)) == {(1, 1): True, (2, 1): True}


def test_a_second_partner_is_refused_where_the_partners_touch() -> None:
    low, high = split(gap=0)
    assert listed(face_edges(low, high, 2, 8)) == {(1, 1): True, (1, 2): False}
    assert listed(face_edges(high, low, 2, 8)) == {(1, 1): True, (2, 1): False}


def test_a_second_partner_is_refused_where_other_pieces_of_the_partners_touch() -> None:
    """The block behind tells both fragments apart elsewhere; the piece here must not overrule it."""
    low, high = split(gap=1)
    high[3, 0:6, 0], high[3, 6:11, 0] = 1, 2  # touches its own fragment: pieces grow, and meet
    assert listed(face_edges(low, high, 2, 8))[(1, 2)] is False


def test_a_second_partner_must_be_contained() -> None:
    low, high = split(gap=1)
    low[:, 9:] = 0
    assert listed(face_edges(low, high, 2, 8)) == {(1, 1): True, (1, 2): False}
    assert listed(face_edges(low, high, 2, 8, split_overlap=0.3)) == {(1, 1): True, (1, 2): True}


def test_containment_alone_makes_no_first_partner() -> None:
    """A crumb that is mostly inside a large piece is no second partner of a piece that has no first."""
    low, high = empty(), empty()
    low[0, 0, 7:12] = 1
    high[:] = 2
    high[0, 0, 11] = 0
    assert listed(face_edges(low, high, 2, 8)) == {(1, 2): False}


def test_a_best_partner_that_does_not_reach_the_face_stands_for_the_piece_all_the_same() -> None:
    """What the block behind has in two, and the block before as one, is one: the far part is the best, the near one an edge."""
    low, high = empty(), empty()
    low[0, 0, 7:16] = 1
    high[0, 0, 7:8], high[0, 0, 9:16] = 2, 3
    assert listed(face_edges(low, high, 2, 8)) == {(1, 2): True}
    high[0, 0, 7:9] = 2  # now both touch: the block behind tells them apart
    assert listed(face_edges(low, high, 2, 8)) == {(1, 2): False}


@pytest.mark.parametrize(("missing", "joined"), [(0, True), (1, True), (2, True), (3, False)])
def test_skipped_slices_do_not_cut_a_piece(missing: int, joined: bool) -> None:
    """A tube that lost slices in one block has the same partner in the other as if it had them."""
    whole, broken = empty((16, 4, 16)), empty((16, 4, 16))
    whole[:, 1:3, 2:14] = broken[:, 1:3, 2:14] = 1
    broken[4 : 4 + missing] = 0
    edges = face_edges(broken, whole, 2, 8)
    assert listed(edges) == {(1, 1): True}
    assert (edges["strength"][0] > 0.9) is np.True_ if joined else edges["strength"][0] < 0.9


@pytest.mark.parametrize(("gap", "unlike", "fused"), [(0, 0, False), (2, 0, True), (2, 6, False)])
def test_a_sliver_does_not_fuse_what_both_blocks_tell_apart(gap: int, unlike: int, fused: bool) -> None:
    """Two tubes run through the face, and a speck beside them is the first one's in one block, the second one's in the other."""
    low = empty((6, 24, 16))
    low[:, 0:8], low[:, 8 + gap : 16 + gap] = 1, 2
    high = low * 10
    low[3, 22, 6 - unlike : 10], high[3, 22, 6:10] = 1, 20
    found = listed(face_edges(low, high, 2, 8))
    assert found[1, 10] and found[2, 20]
    assert found[1, 20] == fused  # where they do not touch and see the same, they may be arms of one object


def test_wrong_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        face_edges(empty(), empty((6, 10, 15)), 2, 8)
    for plane in (0, 16):
        with pytest.raises(ValueError, match=f"face {plane} on axis 2"):
            face_edges(empty(), empty(), 2, plane)


@settings(max_examples=60)
@given(LABELS, LABELS, st.integers(0, 2))
def test_invariants(low: np.ndarray, high: np.ndarray, axis: int) -> None:
    """Pairs are unique, sorted and overlap; input is left alone; both sides are treated alike."""
    before = low.copy(), high.copy()
    edges = face_edges(low, high, axis, 2)
    np.testing.assert_array_equal(low, before[0])
    np.testing.assert_array_equal(high, before[1])
    pairs = list(zip(edges["low"].tolist(), edges["high"].tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert all(((low == a) & (high == b)).any() for a, b in pairs)
    assert ((edges["strength"] > 0) & (edges["strength"] <= 1)).all()
    same = face_edges(low, low, axis, 2)
    assert (same["low"] == same["high"]).all() and same["accepted"].all()
