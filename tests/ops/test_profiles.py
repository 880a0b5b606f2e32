"""Profiles of a slice, a point in each, and which points are one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from mitoscale.ops.profiles import deduplicate, detections_from_profiles, profiles


def disks(*centres: tuple[int, int, int], shape: tuple[int, int] = (60, 90)) -> np.ndarray:
    """(Y, X) float32: 0.9 in each (y, x, radius), else 0.1."""
    y, x = np.indices(shape)
    inside = np.zeros(shape, bool)
    for cy, cx, radius in centres:
        inside |= (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    return np.where(inside, np.float32(0.9), np.float32(0.1))


def test_no_foreground_gives_nothing() -> None:
    labels = profiles(np.zeros((8, 9), np.float32), 0.5, 4)
    assert labels.shape == (8, 9) and labels.dtype == np.int32 and not labels.any()
    found = detections_from_profiles(labels, np.zeros((8, 9), np.float32))
    assert all(len(values) == 0 for values in found.values())
    assert set(found) == {"y", "x", "score", "area", "y0", "x0", "y1", "x1"}


def test_the_threshold_itself_counts() -> None:
    assert profiles(np.full((4, 4), 0.5, np.float32), 0.5, 2).all()


def test_two_pixels_of_a_single_row_are_two_profiles() -> None:
    """A bool array of this shape makes some versions of cc3d lose pixels and find others."""
    assert profiles(np.array([[0, 0, 0, 1]], np.float32), 0.5, 2).tolist() == [[0, 0, 0, 1]]
    assert profiles(np.array([[1, 0, 0, 1]], np.float32), 0.5, 2).tolist() == [[1, 0, 0, 2]]


def test_touching_disks_are_split_where_they_meet() -> None:
    probability = disks((30, 25, 15), (30, 52, 15))
    labels = profiles(probability, 0.5, 16)
    assert labels.max() == 2
    assert labels[30, 20] != labels[30, 60]
    np.testing.assert_array_equal(labels > 0, probability > 0.5)


def beside(dip: float, width: int = 2) -> np.ndarray:
    """(40, 82) float32: two squares that touch all along one edge, with a line between them of which the network is less sure."""
    probability = np.full((40, 82), 0.05, np.float32)
    probability[4:36, 4:78] = 0.995
    probability[4:36, 41 - width // 2 : 41 + width // 2] = dip
    return probability


@pytest.mark.parametrize("dip", [0.55, 0.75, 0.9])
def test_profiles_that_touch_all_along_are_split_where_the_probability_dips(dip: float) -> None:
    labels = profiles(beside(dip), 0.5, 20)
    assert labels.max() == 2
    assert len(np.unique(labels[4:36, 4:40])) == len(np.unique(labels[4:36, 42:78])) == 1
    np.testing.assert_array_equal(labels > 0, beside(dip) > 0.5)


def test_a_dip_that_does_not_go_through_or_lies_at_the_rim_splits_nothing() -> None:
    door = beside(0.6)
    door[12:28, 41] = door[12:28, 40] = 0.995
    assert profiles(door, 0.5, 20).max() == 1
    rim = np.full((40, 82), 0.995, np.float32)
    rim[:, 5] = 0.6  # what is beyond is thinner than a profile
    assert profiles(rim, 0.5, 20).max() == 1


def test_less_sure_grains_inside_a_profile_split_nothing() -> None:
    grains = beside(0.995)
    grains[np.random.default_rng(0).random(grains.shape) < 0.1] *= 0.7
    for separation in (2, 4, 10, 20):  # pixels of 60 to 6 nm, where two are 120 nm apart
        assert profiles(grains, 0.5, separation).max() == 1


@pytest.mark.parametrize(("high", "low"), [(253, 252), (245, 244), (250, 249), (230, 227)])
def test_a_grey_step_is_no_dip(high: int, low: int) -> None:
    shallow = beside(low / 255)
    shallow[shallow > low / 255] = np.float32(high / 255)
    assert profiles(shallow, 0.5, 20).max() == 1


@pytest.mark.parametrize("dip", [0.6, 0.85])
def test_rounding_does_not_decide_what_is_split(dip: float) -> None:
    """As between two kinds of devices, whose answers differ by a step of 8 bits here and there."""
    grey = np.rint(beside(dip) * 255)
    expected = profiles(np.float32(grey / 255), 0.5, 20)
    for seed in range(5):
        other = np.clip(grey + np.random.default_rng(seed).integers(-1, 2, grey.shape), 0, 255)
        assert (profiles(np.float32(other / 255), 0.5, 20) == expected).mean() > 0.99


def test_thick_parts_that_only_unsure_pixels_join_are_two() -> None:
    assert profiles(beside(0.4, width=4), 0.15, 20).max() == 2


@given(
    probability=arrays.arrays(np.float32, (14, 18), elements=st.sampled_from(np.float32([0.1, 0.55, 0.85, 0.95, 1.0]).tolist())),
    separation=st.sampled_from([2.0, 4.0, 6.0]),
    aspect=st.sampled_from([1.0, 0.5, 2.0]),
)
@settings(max_examples=60, deadline=None)
def test_profiles_share_out_the_foreground(probability: np.ndarray, separation: float, aspect: float) -> None:
    labels = profiles(probability, 0.5, separation, aspect)
    np.testing.assert_array_equal(labels > 0, probability >= 0.5)
    assert set(np.unique(labels)) - {0} == set(range(1, int(labels.max()) + 1))
    for label in range(1, int(labels.max()) + 1):
        assert ndimage.label(labels == label, np.ones((3, 3)))[1] == 1


def test_one_long_profile_is_not_split() -> None:
    long = np.zeros((40, 120), np.float32)
    long[12:28, 5:115] = 1
    assert profiles(long, 0.5, 20).max() == 1


def test_a_crescent_has_its_point_inside() -> None:
    probability = disks((30, 45, 25))
    probability[disks((30, 49, 24)) > 0.5] = 0.1
    labels = (probability > 0.5).astype(np.int32)
    inside = np.argwhere(labels)
    assert not labels[tuple(np.rint(inside.mean(axis=0)).astype(int))]  # the centroid is outside
    found = detections_from_profiles(labels, probability)
    assert labels[found["y"][0], found["x"][0]]


def test_a_detection_measures_its_profile() -> None:
    labels = np.zeros((10, 12), np.int32)
    labels[2:5, 3:8], labels[7, 1] = 1, 3  # number 2 is missing
    probability = np.where(labels == 1, 0.75, 0.5).astype(np.float32)
    found = detections_from_profiles(labels, probability)
    assert {name: values.tolist() for name, values in found.items()} == {
        "y": [3, 7],
        "x": [5, 1],
        "score": [0.75, 0.5],
        "area": [15, 1],
        "y0": [2, 7],
        "x0": [3, 1],
        "y1": [5, 8],
        "x1": [8, 2],
    }


@settings(max_examples=50)
@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 25), st.integers(1, 25)), elements=st.sampled_from([0.0, 0.4, 1])),
    st.floats(1, 12),
)
def test_profiles_tile_the_foreground(probability: np.ndarray, separation: float) -> None:
    """Each pixel of foreground is in one connected profile; numbers have no gaps; each profile has a point."""
    labels = profiles(probability, 0.4, separation)
    np.testing.assert_array_equal(labels, profiles(probability, 0.4, separation))
    np.testing.assert_array_equal(labels > 0, probability >= np.float32(0.4))
    assert np.unique(labels[labels > 0]).tolist() == list(range(1, int(labels.max()) + 1))
    around = np.ones((3, 3))
    components, count = ndimage.label(probability >= np.float32(0.4), around)
    assert count <= labels.max()
    for label in range(1, int(labels.max()) + 1):
        assert len(np.unique(components[labels == label])) == 1
        assert ndimage.label(labels == label, around)[1] == 1
    found = detections_from_profiles(labels, probability)
    assert labels[found["y"], found["x"]].tolist() == list(range(1, int(labels.max()) + 1))
    assert found["area"].sum() == (labels > 0).sum()


def test_no_points_stay_of_none() -> None:
    assert deduplicate(np.zeros((0, 3)), np.zeros(0), 5.0).shape == (0,)


def test_a_point_that_has_gone_removes_nobody() -> None:
    points = np.array([[0, 0, 0], [0, 0, 8], [0, 0, 16.0]])
    assert deduplicate(points, np.array([0.9, 0.8, 0.7]), 10.0).tolist() == [0, 2]
    assert deduplicate(points, np.array([0.8, 0.9, 0.7]), 10.0).tolist() == [1]


def test_ties_go_to_the_smaller_coordinates() -> None:
    points = np.array([[0, 5, 0], [0, 0, 9], [0, 0, 3.0]])
    assert deduplicate(points, np.ones(3), 10.0).tolist() == [2]


@pytest.mark.parametrize("distance", [1.0, 30.0, 200.0])
@given(data=st.data())
@settings(max_examples=30)
def test_deduplicate_is_the_plain_greedy_choice(distance: float, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    points = rng.integers(0, 100, (data.draw(st.integers(1, 40)), 3)).astype(float)
    scores = rng.integers(0, 4, len(points)) / 4
    kept: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (-scores[i], *points[i], i)):
        if all(np.linalg.norm(points[i] - points[j]) > distance for j in kept):
            kept.append(i)
    found = deduplicate(points, scores, distance)
    assert found.tolist() == sorted(kept)
    order = rng.permutation(len(points))  # the points that stay do not depend on the order they come in
    shuffled = deduplicate(points[order], scores[order], distance)
    np.testing.assert_array_equal(np.unique(points[found], axis=0), np.unique(points[order][shuffled], axis=0))


@pytest.mark.parametrize("axis", [0, 1])
def test_profiles_split_alike_where_pixels_are_twice_as_long_on_one_axis(axis: int) -> None:
    y, x = np.mgrid[:60, :120]
    discs = (np.hypot(y - 30, x - 38) < 18) | (np.hypot(y - 30, x - 82) < 18)
    two = discs | ((abs(y - 30) < 5) & (x > 38) & (x < 82))  # a thin bridge between them
    probability = (two if axis == 1 else two.T).astype(np.float32)
    square = profiles(probability, 0.5, 24.0)
    thinned = probability[:, ::2]  # x pixels are twice as wide
    assert square.max() == profiles(thinned, 0.5, 24.0, aspect=2.0).max() == 2
