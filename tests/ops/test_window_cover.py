"""Windows hold what is asked for whole, and are few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.ops.window_cover import SNAP, centred, cover

SIZE, CONTEXT = 256, 16
BOUNDS = np.array([[70, 130], [710, 770]])


def boxes_of(seed: int, count: int, largest: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.integers(BOUNDS[0], BOUNDS[1] - 1, (count, 2))
    high = np.minimum(low + rng.integers(0, largest, (count, 2)), BOUNDS[1] - 1)
    return np.concatenate([low, high], axis=1).astype(float)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([4, 60, SIZE - 2 * CONTEXT]))
def test_every_box_lies_whole_in_its_one_window(seed: int, count: int, largest: int) -> None:
    boxes = boxes_of(seed, count, largest)
    windows = cover(boxes, SIZE, CONTEXT, BOUNDS)
    assert sorted(i for w in windows for i in w.boxes) == list(range(count))
    for window in windows:
        start = np.array(window.start)
        assert (start % SNAP == 0).all()
        assert (boxes[window.boxes, :2] >= start).all() and (boxes[window.boxes, 2:] < start + SIZE).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_windows_reach_beyond_what_was_read_only_by_a_step(seed: int, count: int) -> None:
    for window in cover(boxes_of(seed, count, 60), SIZE, CONTEXT, BOUNDS):
        start = np.array(window.start)
        assert (start > BOUNDS[0] - 2 * SNAP).all() and (start + SIZE < BOUNDS[1] + 2 * SNAP).all()


def test_a_crowd_costs_no_more_than_a_lattice_would() -> None:
    boxes = boxes_of(0, 2000, 60)
    whole = SIZE - 60 - 2 * CONTEXT  # the stride of a lattice that holds boxes of that size whole
    lattice = np.prod(np.ceil((BOUNDS[1] - BOUNDS[0]) / whole))
    assert len(cover(boxes, SIZE, CONTEXT, BOUNDS)) <= 1.5 * lattice


def test_lone_boxes_lie_in_the_middle() -> None:
    assert centred(np.array([300, 400]), np.array([340, 440]), SIZE, BOUNDS) == (192, 288)


@pytest.mark.parametrize("size", [256, 1024])
def test_what_is_smaller_than_a_window_needs_one(size: int) -> None:
    """Boxes over all of a read region that fits into a window."""
    boxes = np.array([[10, 10, 30, 30], [150, 180, 199, 199], [10, 170, 40, 199], [180, 3, 199, 20.0]])
    bounds = np.array([[0, 0], [200, 200]])
    assert len(cover(boxes, size, size // 16, bounds)) == 1


@pytest.mark.parametrize("context", [SNAP, 4 * SNAP])
@pytest.mark.parametrize("start", [(0, 0), (16, 48)])
def test_a_slice_as_large_as_a_window_is_shown_once(start: tuple[int, int], context: int) -> None:
    bounds = np.array([start, np.array(start) + SIZE])
    corners = np.array([[0, 0, 9, 9], [SIZE - 10, SIZE - 10, SIZE - 1, SIZE - 1], [5, SIZE - 20, 60, SIZE - 1]], float)
    (window,) = cover(corners + np.tile(start, 2), SIZE, context, bounds)
    assert window.start == start and window.boxes == [0, 1, 2]
