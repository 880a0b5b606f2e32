"""Which masks of a slice stay, and who owns a pixel."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mitoscale.ops.masks import Mask, clip_to_foreground, fill_unclaimed, masks_of, paint, score_of_profiles, suppress

SHAPE = (20, 24)
LABELS = arrays.arrays(np.int32, st.just((6, 7)), elements=st.integers(0, 3))


def box(y0: int, x0: int, height: int, width: int, *, score: float = 1.0, profile: int = 1, logit: float | None = None) -> Mask:
    mask = np.ones((height, width), bool)
    logits = None if logit is None else np.full(mask.shape, logit, np.float32)
    return Mask(y0=y0, x0=x0, mask=mask, logits=logits, score=score, profile=profile)


def test_masks_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        box(0, 0, 2, 2).score = 3.0  # type: ignore[misc]


def test_crops_of_full_masks() -> None:
    full = np.zeros((3, *SHAPE), bool)
    full[0, 2:5, 3:9], full[2, 19, 23] = True, True
    found = masks_of(full, np.array([0.5, 0.6, 0.7]))
    assert [(m.profile, m.score, m.y0, m.x0, m.mask.shape) for m in found] == [
        (1, 0.5, 2, 3, (3, 6)),
        (3, 0.7, 19, 23, (1, 1)),
    ]
    assert full[2][found[1].slices].all()


def test_the_better_of_two_alike_stays() -> None:
    masks = [box(0, 0, 10, 10, score=0.5, profile=1), box(0, 1, 10, 10, score=0.9, profile=2)]
    assert suppress(masks, iou=0.7, iom=0.99) == [1]
    assert suppress(masks, iou=0.9, iom=0.99) == [1, 0]


def test_a_mask_inside_a_better_one_goes_whatever_its_iou() -> None:
    masks = [box(0, 0, 10, 10, score=0.9, profile=1), box(2, 2, 3, 3, score=0.5, profile=2)]
    assert suppress(masks, iou=0.7, iom=0.8) == [0]


def test_masks_of_one_profile_do_not_compete() -> None:
    masks = [box(0, 0, 10, 10, score=0.9), box(0, 0, 10, 10, score=0.5)]
    assert suppress(masks, iou=0.7, iom=0.8) == [0, 1]


def test_a_mask_that_has_gone_removes_nobody() -> None:
    masks = [box(0, x, 10, 10, score=0.9 - x / 100, profile=x + 1) for x in (0, 3, 6)]
    assert suppress(masks, iou=0.5, iom=0.6) == [0, 2]


def test_ties_go_to_the_smaller_profile() -> None:
    masks = [box(0, 0, 4, 4, profile=2), box(0, 0, 4, 4, profile=1)]
    assert suppress(masks, iou=0.7, iom=0.8) == [1]


def test_nothing_to_suppress() -> None:
    assert suppress([], iou=0.7, iom=0.8) == []


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_suppress_is_the_plain_greedy_choice(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    masks, full = [], np.zeros((count, *SHAPE), bool)
    for i in range(count):
        height, width = rng.integers(1, 9, 2)
        y0, x0 = rng.integers(0, SHAPE[0] - height + 1), rng.integers(0, SHAPE[1] - width + 1)
        mask = rng.random((height, width)) < 0.8
        mask[0, 0] = True
        masks.append(Mask(y0=int(y0), x0=int(x0), mask=mask, score=int(rng.integers(0, 5)) / 5, profile=i + 1))
        full[i][masks[i].slices] = mask
    kept: list[int] = []
    for i in sorted(range(count), key=lambda i: (-masks[i].score, i)):
        shared = [(full[i] & full[j]).sum() for j in kept]
        if all(
            s <= 0.3 * (full[i] | full[j]).sum() and s <= 0.5 * min(full[i].sum(), full[j].sum())
            for s, j in zip(shared, kept, strict=True)
        ):
            kept.append(i)
    assert suppress(masks, iou=0.3, iom=0.5) == kept


def test_a_pixel_goes_to_the_highest_logit() -> None:
    a, b = box(0, 0, 4, 6, profile=1, logit=2.0), box(2, 4, 4, 6, profile=2, logit=3.0)
    for masks in ([a, b], [b, a]):
        labels = paint(SHAPE, masks)
        assert labels.dtype == np.int32
        assert labels[3, 5] == 2 and labels[0, 5] == 1 and labels[5, 9] == 2 and labels[10, 10] == 0


def test_equal_logits_go_to_the_earlier_mask() -> None:
    a, b = box(0, 0, 4, 6, profile=1, logit=2.0), box(2, 4, 4, 6, profile=2, logit=2.0)
    assert paint(SHAPE, [a, b])[3, 5] == 1
    assert paint(SHAPE, [b, a])[3, 5] == 2


def test_without_logits_the_score_decides() -> None:
    assert paint(SHAPE, [box(0, 0, 4, 4, score=0.5, profile=1), box(0, 0, 4, 4, score=0.6, profile=2)])[0, 0] == 2


def test_no_masks_paint_nothing() -> None:
    assert not paint(SHAPE, []).any()


def test_the_gate_is_a_distance_to_the_foreground() -> None:
    labels, foreground = np.ones((1, 12), np.int32), np.zeros((1, 12), bool)
    foreground[0, 2] = True
    assert np.flatnonzero(clip_to_foreground(labels, foreground, 3.0)).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(clip_to_foreground(labels, foreground, 0.0)).tolist() == [2]


def test_without_foreground_the_gate_is_shut() -> None:
    assert not clip_to_foreground(np.ones(SHAPE, np.int32), np.zeros(SHAPE, bool), 1e9).any()


def test_the_rest_of_a_profile_joins_its_own_mask() -> None:
    labels, profiles = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    profiles[2:10, 2:10], labels[3:9, 3:9] = 1, 1
    np.testing.assert_array_equal(fill_unclaimed(labels, profiles), profiles)


def test_a_profile_without_a_mask_stands_for_itself() -> None:
    labels, profiles = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    profiles[2:10, 2:10], profiles[12:18, 2:10], labels[1:9, 2:10] = 1, 2, 1
    filled = fill_unclaimed(labels, profiles)
    assert (filled[12:18, 2:10] == 2).all() and (filled[1:10, 2:10] == 1).all()


def test_the_rim_of_a_profile_that_another_mask_covers_joins_that_mask() -> None:
    """The profile's own mask was suppressed; a rim of a few pixels must not become an object."""
    labels, profiles = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    profiles[2:10, 2:10], profiles[2:10, 10:16], labels[2:9, 2:15] = 1, 2, 1
    assert set(np.unique(fill_unclaimed(labels, profiles))) == {0, 1}


def test_a_profile_that_another_mask_merely_grazes_stands_for_itself() -> None:
    labels, profiles = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    profiles[2:10, 2:10], profiles[2:10, 10:16], labels[2:10, 2:11] = 1, 2, 1
    filled = fill_unclaimed(labels, profiles)
    assert (filled[2:10, 11:16] == 2).all() and (filled[2:10, 2:11] == 1).all()


def test_claimed_crumbs_are_given_up() -> None:
    labels, profiles = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    profiles[2:10, 2:10], labels[2, 2:5] = 2, 1
    assert (fill_unclaimed(labels, profiles)[2:10, 2:10] == 2).all()
    assert (fill_unclaimed(labels, profiles, least=3)[2, 2:5] == 1).all()


@settings(max_examples=80)
@given(LABELS, LABELS)
def test_nothing_claimed_and_no_foreground_is_lost(labels: np.ndarray, profiles: np.ndarray) -> None:
    """Masks never lower recall, and an unclaimed profile is never cut in two."""
    filled = fill_unclaimed(labels, profiles, least=1)
    assert filled.dtype == np.int32
    np.testing.assert_array_equal(filled > 0, (labels > 0) | (profiles > 0))
    np.testing.assert_array_equal(filled[labels > 0], labels[labels > 0])
    for profile in np.unique(profiles[(labels == 0) & (profiles > 0)]):
        assert len(np.unique(filled[(labels == 0) & (profiles == profile)])) == 1


def test_scores_of_profiles_are_means_over_their_pixels_in_exact_steps() -> None:
    def one(pixels: int, score: float, profile: int) -> Mask:
        return Mask(y0=0, x0=0, mask=np.ones((1, pixels), bool), score=score, profile=profile)

    scores = score_of_profiles([one(3, 0.9, 4), one(1, 0.5, 4), one(5, 1 / 3, 1)])
    assert scores[[0, 2, 3]].tolist() == [0, 0, 0]
    np.testing.assert_allclose(scores[[1, 4]], [1 / 3, 0.8], atol=1 / 2048)
    assert (scores * 1024 % 1 == 0).all()
    assert score_of_profiles([]).tolist() == [0]


def test_the_gate_measures_each_axis_with_its_own_pixel() -> None:
    foreground = np.zeros((21, 21), bool)
    foreground[10, 10] = True
    near = clip_to_foreground(np.ones((21, 21), np.int32), foreground, 4.0, aspect=2.0)
    assert near[:, 10].sum() == 9 and near[10].sum() == 5
