"""What faces each other across a plane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mitoscale.ops.seams import contacts, counts, interval, meeting_points, suspects

LABELS = arrays.arrays(np.uint32, st.just((4, 5, 6)), elements=st.integers(0, 3))
PLANES = arrays.arrays(np.uint32, st.just((5, 7)), elements=st.integers(0, 4))


def test_an_object_that_crosses_looks_alike_and_is_cut_where_labels_differ() -> None:
    plane = np.zeros((10, 20), np.uint32)
    plane[2:8, 2:8], plane[2:8, 10:18] = 3, 5
    found = contacts(plane, np.roll(plane, 1, axis=0) * 2)
    assert found["before"].tolist() == [3, 5] and found["behind"].tolist() == [6, 10] and found["mutual"].all()
    assert counts(found, np.array([True, False])) == {"alike": 2, "cut": 1, "joined": 1, "fused": 0}


def test_neighbours_that_only_graze_each_other_are_no_cut_and_as_one_they_look_fused() -> None:
    before, behind = np.zeros((2, 12, 12), np.uint32)
    before[:, :6], behind[:, 5:] = 1, 2
    found = contacts(before, behind)
    cut, fused = suspects(found, np.array([False]))
    assert not cut.any() and not fused.any()
    assert suspects(found, np.array([True]))[1].all()


def test_a_crumb_beside_the_true_partner_is_no_cut() -> None:
    before, behind = np.zeros((2, 10, 10), np.uint32)
    before[:], behind[:], behind[0, 0] = 1, 2, 3
    found = contacts(before, behind)
    assert found["mutual"].tolist() == [True, False]
    assert not suspects(found, np.array([True, False]))[0].any()


def test_nothing_faces_nothing() -> None:
    found = contacts(np.zeros((0, 4), np.uint32), np.zeros((0, 4), np.uint32))
    assert all(len(values) == 0 for values in found.values())
    with pytest.raises(ValueError, match="alike"):
        contacts(np.zeros((2, 2), np.uint32), np.zeros((2, 3), np.uint32))


@settings(max_examples=60)
@given(PLANES, PLANES)
def test_invariants(before: np.ndarray, behind: np.ndarray) -> None:
    """Each pair that meets is listed once, at a pixel that both cover; the other way round it is the same."""
    found = contacts(before, behind)
    pairs = list(zip(found["before"].tolist(), found["behind"].tolist(), strict=True))
    both = (before > 0) & (behind > 0)
    assert pairs == sorted(set(zip(before[both].tolist(), behind[both].tolist(), strict=True)))
    assert before[found["v"], found["u"]].tolist() == found["before"].tolist()
    assert behind[found["v"], found["u"]].tolist() == found["behind"].tolist()
    assert ((found["strength"] > 0) & (found["strength"] <= 1)).all()
    other = contacts(behind, before)
    assert sorted(zip(other["behind"], other["before"], other["strength"], strict=True)) == sorted(
        zip(found["before"], found["behind"], found["strength"], strict=True)
    )


@pytest.mark.parametrize(("part", "whole"), [(0, 0), (0, 10), (10, 10), (3, 1000)])
def test_the_interval_holds_the_rate(part: int, whole: int) -> None:
    low, high = interval(part, whole)
    assert 0 <= low <= part / max(whole, 1) <= high <= 1
    assert interval(part * 100, whole * 100)[1] <= high


@settings(max_examples=100)
@given(LABELS, LABELS, st.integers(0, 2))
def test_a_meeting_point_is_in_both_fragments_and_as_near_to_the_face_as_any(low: np.ndarray, high: np.ndarray, axis: int) -> None:
    low, high = (np.pad(labels, ((0, 0), (0, 0), (0, 1))) for labels in (low, high))  # no stretch goes on in the next row
    both = (low > 0) & (high > 0)
    pairs = np.unique(np.stack([low[both], high[both]], axis=1), axis=0)
    core = [slice(1, 4), slice(1, 4), slice(1, 5)]
    core[axis] = slice(-3, 9)
    points = meeting_points(low, high, pairs, axis, 2, tuple(core))
    assert points.shape == (len(pairs), 3) and points.dtype == np.int64
    for (a, b), point in zip(pairs.tolist(), points.tolist(), strict=True):
        voxels = np.argwhere((low == a) & (high == b))
        assert point in voxels.tolist()
        ranks = [
            (any(not c.start <= v < c.stop for v, c in zip(voxel, core, strict=True)), abs(2 * voxel[axis] - 3)) for voxel in voxels
        ]
        own = ranks[voxels.tolist().index(point)]
        assert own == min(ranks)


def test_fragments_that_share_nothing_meet_nowhere() -> None:
    low, high = np.zeros((2, 1, 1, 4), np.uint32)
    low[..., 0], high[..., 1] = 1, 2
    with pytest.raises(ValueError, match="share no voxel"):
        meeting_points(low, high, np.array([[1, 2]]), 2, 1, np.s_[0:1, 0:1, 0:4])
