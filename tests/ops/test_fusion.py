"""Foreground and masks become one, by the same rules for runs and for comparisons."""

from __future__ import annotations

import numpy as np

from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.ops.fusion import Fusion, drop_small
from mitoscale.ops.masks import Mask

FUSION = Fusion(detect=DetectSettings(), segment=SegmentSettings(min_profile_nm2=100), spacing=(5.0, 5.0, 5.0))


def test_profiles_at_the_border_are_kept_however_small() -> None:
    profiles = np.zeros((8, 8), np.int32)
    profiles[0, 0], profiles[3:5, 3:5], profiles[6, 6] = 1, 2, 3
    kept = drop_small(profiles, 3)
    assert kept[0, 0] == 1 and (kept[3:5, 3:5] == 2).all() and kept[6, 6] == 0


def stack() -> np.ndarray:
    """(2, 40, 60) foreground with two profiles in the first slice, nothing in the second."""
    foreground = np.zeros((2, 40, 60), np.float32)
    foreground[0, 5:20, 5:20] = foreground[0, 5:20, 30:50] = 0.9
    return foreground


def test_profiles_of_each_slice() -> None:
    found = FUSION.profiles(stack())
    assert found.dtype == np.int32 and [int(plane.max()) for plane in found] == [2, 0]
    np.testing.assert_array_equal(found > 0, stack() >= 0.5)


def test_without_masks_the_profiles_stay() -> None:
    found = FUSION.profiles(stack())
    fused = FUSION.fuse(stack(), found, [])
    np.testing.assert_array_equal(fused.labels, found)
    assert not fused.own.any()


def test_masks_are_cut_at_the_foreground_and_what_they_leave_is_filled() -> None:
    found = FUSION.profiles(stack())
    answer = Mask(y0=3, x0=8, mask=np.ones((10, 20), bool), score=0.75, profile=1)
    fused = FUSION.fuse(stack(), found, [[answer], []])
    np.testing.assert_array_equal(fused.labels, found)
    assert fused.own[0].sum() == 8 * 12 and fused.own[0, 5:13, 8:20].all()
    assert fused.scores[0].tolist() == [0, 0.75]


def test_linked_profiles_keep_their_number_along_z() -> None:
    found = FUSION.profiles(np.repeat(stack()[:1], 3, axis=0))
    fragments = FUSION.link(found)
    assert np.unique(fragments).tolist() == [0, 1, 2] and (fragments[0] == fragments[2]).all()
