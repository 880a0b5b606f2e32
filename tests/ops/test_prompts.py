"""Prompts: a point inside each profile and the box around it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from mitoscale.ops.prompts import interior_point, prompts_from_profiles


@given(arrays.arrays(bool, (12, 15)))
def test_each_profile_has_its_point_and_its_box(mask: np.ndarray) -> None:
    labels, count = ndimage.label(mask)
    prompts = prompts_from_profiles(labels.astype(np.int32))
    assert len(prompts) == count == len(prompts.boxes)
    for i in range(count):
        inside = np.argwhere(labels == i + 1)
        assert labels[tuple(prompts.points[i].astype(int))] == i + 1
        assert prompts.boxes[i].tolist() == [*inside.min(0), *(inside.max(0) + 1)]


def test_dtypes() -> None:
    for profiles in (np.zeros((4, 4), np.int32), np.ones((4, 4), np.int32)):
        prompts = prompts_from_profiles(profiles)
        assert prompts.points.shape == (len(prompts), 2) and prompts.points.dtype == np.float32
        assert prompts.boxes.shape == (len(prompts), 4) and prompts.boxes.dtype == np.int32


def test_a_ring_has_its_point_on_the_ring() -> None:
    radius = np.hypot(*(np.mgrid[:41, :41] - 20))
    ring = (radius > 8) & (radius < 18)
    y, x = interior_point(ring)
    assert ring[y, x] and 11 <= radius[y, x] <= 15


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_full_rectangle_has_its_point_in_the_middle(height: int, width: int) -> None:
    y, x = interior_point(np.ones((height, width), bool))
    assert abs(y - (height - 1) / 2) <= 0.5 and abs(x - (width - 1) / 2) <= 0.5
