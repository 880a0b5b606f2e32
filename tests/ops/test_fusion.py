"""Foreground and masks become one, by the same rules for runs and for comparisons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.ops.fusion import Fusion, without_small
from mitoscale.ops.masks import Mask


def fusion(**segment: object) -> Fusion:
    settings = SegmentSettings.model_validate({"min_profile_nm2": 100, **segment})
    return Fusion(detect=DetectSettings(), segment=settings, spacing=(5.0, 5.0, 5.0))


def stack() -> np.ndarray:
    """(2, 40, 60) foreground: a sure profile, and one with an unsure rim of 5 pixels; the second slice is empty."""
    foreground = np.zeros((2, 40, 60), np.float32)
    foreground[0, 5:20, 5:20] = 0.95
    foreground[0, 3:32, 28:57] = 0.4
    foreground[0, 8:27, 33:52] = 0.9
    return foreground


SURE, UNSURE = (10, 10), (10, 40)
"""Pixels inside both."""


def answer(**changes: object) -> Mask:
    """A mask of the unsure profile (number 1, as it is asked for) that holds most of its rim and some background."""
    values = {"y0": 0, "x0": 30, "mask": np.ones((36, 25), bool), "score": 0.75, "profile": 1, **changes}
    return Mask(**values)  # type: ignore[arg-type]


def test_profiles_at_the_border_are_kept_however_small() -> None:
    profiles = np.zeros((8, 8), np.int32)
    profiles[0, 0], profiles[3:5, 3:5], profiles[6, 6] = 1, 2, 3
    assert without_small(profiles, 3).tolist() == [0, 1, 2, 0]
    assert without_small(profiles, 3, last=4).tolist() == [0, 1, 2, 0, 0]


def test_only_unsure_profiles_are_asked_for() -> None:
    found = fusion().profiles(stack())
    assert found.asked == [1, 0] and found.possible == 2
    assert found.labels[0][UNSURE] == 1 and found.labels[0][SURE] == 2  # those that are asked for come first
    np.testing.assert_array_equal(found.labels > 0, stack() >= 0.5)
    assert (found.wide == 1).sum() == 29 * 29
    first, second = found.prompts()
    assert first.boxes.tolist() == [[3, 28, 32, 57]] and len(first.others) == 1 and len(second) == 0


def test_what_no_mask_may_claim_is_no_reason_to_ask() -> None:
    rim = np.where(stack() == np.float32(0.4), np.float32(0.2), stack())
    found = fusion().profiles(rim)
    assert found.asked == [0, 0] and (found.wide > 0).sum() == (fusion().profiles(stack()).wide > 0).sum()
    assert fusion(unsure_from=0.1).profiles(rim).asked == [1, 0]


def test_faint_profiles_are_asked_for_too() -> None:
    foreground = np.where(stack() > 0.9, np.float32(0.7), 0)
    assert fusion().profiles(foreground).asked == [1, 0]


@pytest.mark.parametrize("settings", [{"segmenter": "lab:factory"}, {"gate_nm": 30.0}])
def test_others_are_asked_for_everything(settings: dict[str, object]) -> None:
    assert fusion(**settings).profiles(stack()).asked == [2, 0]


def test_what_does_not_meet_the_core_is_not_asked_for() -> None:
    stacked = np.repeat(stack()[:1], 3, axis=0)
    assert fusion().profiles(stacked, (slice(1, 2), slice(0, 40), slice(0, 60))).asked == [0, 1, 0]
    aside = fusion().profiles(stacked, (slice(0, 3), slice(0, 40), slice(0, 20)))
    assert aside.asked == [0, 0, 0] and aside.possible == 3
    np.testing.assert_array_equal(aside.labels > 0, stacked >= 0.5)


def test_foreground_that_hangs_together_by_unsure_pixels_is_one_profile() -> None:
    foreground = np.zeros((1, 40, 60), np.float32)
    foreground[0, 5:20, 5:50] = 0.9
    foreground[0, 5:20, 26:29] = 0.3  # no neck
    assert fusion().profiles(foreground).labels.max() == 1
    assert fusion(group_from=0.5).profiles(foreground).labels.max() == 2


def test_without_masks_the_profiles_stay() -> None:
    found = fusion().profiles(stack())
    fused = fusion().fuse(stack(), found, [])
    np.testing.assert_array_equal(fused.labels, found.labels)
    assert not fused.own.any() and not fused.changed.any()


def test_masks_claim_what_is_unsure_and_lose_nothing() -> None:
    found = fusion().profiles(stack())
    fused = fusion().fuse(stack(), found, [[answer()], []])
    claimed = (stack()[0] == np.float32(0.4)) & (np.arange(60) >= 30) & (np.arange(60) < 55)
    np.testing.assert_array_equal(fused.labels[0], np.where(claimed, 1, found.labels[0]))
    np.testing.assert_array_equal(fused.changed[0], claimed)
    assert fused.own[0].sum() == claimed.sum() + 19 * 19
    assert fused.scores[0].tolist() == [0, 0.75]


def test_a_mask_that_the_foreground_speaks_against_is_not_taken() -> None:
    """A body with a clear outline, such as a multivesicular one, of which the foreground is sure of a small part."""
    foreground = np.zeros((1, 40, 60), np.float32)
    foreground[0, 5:35, 5:35], foreground[0, 10:20, 10:20] = 0.3, 0.8  # mean 0.36
    body = Mask(y0=5, x0=5, mask=np.ones((30, 30), bool), score=0.9, profile=1)
    found = fusion().profiles(foreground)
    np.testing.assert_array_equal(fusion().fuse(foreground, found, [[body]]).labels, found.labels)
    assert (fusion(min_mask_mean=0.3).fuse(foreground, found, [[body]]).labels > 0).sum() == 900
    wide = fusion(gate_nm=200.0)  # masks are told how far they may go instead
    assert (wide.fuse(foreground, wide.profiles(foreground), [[body]]).labels > 0).sum() == 900


def test_sure_profiles_are_not_given_away() -> None:
    """A mask that covers a sure neighbour leaves it alone."""
    found = fusion().profiles(stack())
    fused = fusion().fuse(stack(), found, [[answer(x0=0, mask=np.ones((36, 60), bool))], []])
    assert (fused.labels[0][found.labels[0] == 2] == 2).all()


def test_a_profile_that_sam_does_not_believe_in_is_dropped() -> None:
    found = fusion().profiles(stack())
    for masks in ([answer(score=0.2)], []):
        fused = fusion().fuse(stack(), found, [masks, []])
        assert np.unique(fused.labels[0]).tolist() == [0, 2]
        np.testing.assert_array_equal(fused.changed[0], found.labels[0] == 1)
    anyones = fusion(segmenter="lab:factory")  # whose scores may be anything
    fused = anyones.fuse(stack(), anyones.profiles(stack()), [[answer(score=-7.0)], []])
    assert {1, 2} <= set(np.unique(fused.labels).tolist())


def test_a_profile_that_the_border_cuts_is_never_dropped() -> None:
    cut = stack()[:, 10:]
    found = fusion().profiles(cut)
    np.testing.assert_array_equal(fusion().fuse(cut, found, [[], []]).labels, found.labels)


def test_a_distance_gates_masks_instead() -> None:
    near = fusion(gate_nm=10.0)
    found = near.profiles(stack())
    masks = [answer(profile=int(found.labels[0][UNSURE]), score=0.1)]
    fused = near.fuse(stack(), found, [masks, []])
    assert fused.labels[0, 6, 40] and not fused.labels[0, 5, 40] and fused.labels[0][UNSURE]


def test_linked_profiles_keep_their_number_along_z() -> None:
    found = fusion().profiles(np.repeat(stack()[:1], 3, axis=0))
    fragments = fusion().link(found.labels)
    assert np.unique(fragments).tolist() == [0, 1, 2] and (fragments[0] == fragments[2]).all()


def test_each_axis_is_measured_by_its_own_pixel() -> None:
    y, x = np.mgrid[:60, :120]
    discs = (np.hypot(y - 30, x - 38) < 18) | (np.hypot(y - 30, x - 82) < 18) | ((abs(y - 30) < 5) & (x > 38) & (x < 82))
    wide = Fusion(detect=DetectSettings(min_separation_nm=120), segment=SegmentSettings(), spacing=(50.0, 5.0, 10.0))
    assert len(np.unique(wide.profiles(discs[None, :, ::2].astype(np.float32)).labels)) == 3  # background and two

    foreground = np.zeros((1, 41, 41), np.float32)
    foreground[0, 18:23, 19:22] = 1  # 25 x 30 nm
    gated = replace(wide, segment=SegmentSettings(gate_nm=40, min_profile_nm2=0))
    found = gated.profiles(foreground)
    mask = Mask(y0=0, x0=0, mask=np.ones((41, 41), bool), score=1.0, profile=1)
    labels = gated.fuse(foreground, found, [[mask]]).labels[0]
    assert (labels[:, 20] > 0).sum() == 5 + 2 * 8 and (labels[20] > 0).sum() == 3 + 2 * 4
