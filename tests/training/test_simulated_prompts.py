"""Prompts simulated from truth: positive points in their mask, negative ones in others, boxes around."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.nets.mask_decoding import BOX_START, BOX_STOP, NEGATIVE, PADDING, POSITIVE
from mitoscale.training import prompts as simulated
from mitoscale.training.prompts import POINTS, simulate

SIZE = 96


@pytest.fixture
def profiles() -> np.ndarray:
    """A ring (its centroid lies outside), a disk, a bar at the border, and a crumb that is too small to ask for."""
    y, x = np.mgrid[:SIZE, :SIZE]
    found = np.zeros((SIZE, SIZE), np.uint32)
    radius = np.hypot(y - 30, x - 30)
    found[(radius < 24) & (radius > 16)] = 1
    found[np.hypot(y - 72, x - 60) < 12] = 2
    found[:, 90:] = 3
    found[80:85, 5:10] = 4
    return found


def test_meanings_are_those_of_the_network() -> None:
    own = (simulated._PADDING, simulated._NEGATIVE, simulated._POSITIVE, simulated._BOX_START, simulated._BOX_STOP)
    assert own == (PADDING, NEGATIVE, POSITIVE, BOX_START, BOX_STOP)


@pytest.mark.parametrize("kind", [None, "box", "point"])
@pytest.mark.parametrize("seed", range(8))
def test_points_lie_where_they_mean(profiles: np.ndarray, kind: str | None, seed: int) -> None:
    found = simulate(profiles, 6, np.random.default_rng(seed), kind=kind)
    assert found is not None
    count = 6 if kind is None else 3
    assert found.points.shape == (count, POINTS, 2) and found.points.dtype == np.float32
    assert found.meaning.shape == (count, POINTS) and found.masks.shape == (count, SIZE, SIZE)
    assert (found.points >= 0).all() and (found.points <= SIZE - 1).all()
    for points, meaning, mask in zip(found.points, found.meaning, found.masks, strict=True):
        own = np.unique(profiles[mask])
        assert len(own) == 1 and own[0] in (1, 2, 3) and (mask == (profiles == own[0])).all()
        assert {POSITIVE, BOX_START} & set(meaning.tolist())
        assert (BOX_START in meaning) == (BOX_STOP in meaning)
        for point, what in zip(points, meaning, strict=True):
            at = tuple(np.rint(point).astype(int))
            if what == POSITIVE:
                assert mask[at]
            if what == NEGATIVE:
                assert profiles[at] not in (0, own[0])


def test_exact_boxes_and_points(profiles: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    box, point = (simulate(profiles, 9, rng, kind=k) for k in ("box", "point"))
    assert box is not None and point is not None
    for corners, meaning, mask in zip(box.points, box.meaning, box.masks, strict=True):
        inside = np.argwhere(mask)
        assert corners[:2].tolist() == [inside.min(0).tolist(), inside.max(0).tolist()]
        assert meaning.tolist() == [BOX_START, BOX_STOP, PADDING, PADDING, PADDING]
    assert (point.meaning == [PADDING, PADDING, POSITIVE, PADDING, PADDING]).all()


def test_jittered_boxes_stay_near(profiles: np.ndarray) -> None:
    found = [simulate(profiles, 6, np.random.default_rng(s)) for s in range(20)]
    offsets = [
        np.abs(p.points[i, :2] - np.array([np.argwhere(m).min(0), np.argwhere(m).max(0)]))
        for p in found
        if p is not None
        for i, m in enumerate(p.masks)
        if p.meaning[i, 0] == BOX_START
    ]
    assert max(o.max() for o in offsets) <= 16 and np.mean([o.mean() for o in offsets]) > 0.1


def test_a_window_without_a_usable_profile_is_skipped(profiles: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    assert simulate(np.zeros_like(profiles), 4, rng) is None
    assert simulate(np.where(profiles == 4, 4, 0).astype(np.uint32), 4, rng) is None


def test_the_seed_decides_the_prompts(profiles: np.ndarray) -> None:
    a, b = (simulate(profiles, 6, np.random.default_rng(3)) for _ in range(2))
    assert a is not None and b is not None
    assert (a.points == b.points).all() and (a.meaning == b.meaning).all() and (a.masks == b.masks).all()


def test_no_prompt_lies_where_nobody_has_annotated(profiles: np.ndarray) -> None:
    sparse = profiles.astype(np.int32)
    sparse[:, 48:] = -1
    for seed in range(30):
        found = simulate(sparse, 6, np.random.default_rng(seed), false_share=0.5)
        assert found is not None and (found.known == (sparse >= 0)).all()
        assert not found.masks[:, :, 48:].any()
        for points, meaning in zip(found.points, found.meaning, strict=True):
            clicked = points[(meaning == POSITIVE) | (meaning == NEGATIVE)]
            assert (clicked[:, 1] < 48).all(), "a false prompt there may be a true one"
