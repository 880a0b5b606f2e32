"""Fragments made from a truth with mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.settings import SegmentSettings
from mitoscale.nets.factories import make_segmenter
from mitoscale.nets.predictors import VolumeSegmenter
from synthetic.scene import make_scene

REGION = Region(start=(8, 4, 0), stop=(40, 44, 48))


def segmenter(truth: Path) -> VolumeSegmenter:
    options = {"truth": str(truth), "strength": "0.5"}
    made = make_segmenter(SegmentSettings(segmenter="synthetic.spoilt:SpoiltFragments", options=options), (10.0, 10.0, 10.0))
    assert isinstance(made, VolumeSegmenter)
    return made


def test_mistakes_are_the_blocks_own_and_always_the_same(tmp_path: Path) -> None:
    truth = tmp_path / "truth.npy"
    np.save(truth, make_scene((48, 48, 48), objects=4, seed=1, radius=(5, 7), length=(30, 50)))
    image, other = np.zeros(REGION.shape, np.uint8), REGION.shifted((0, 1, 0))
    foreground = np.zeros(REGION.shape, np.float32)
    first = segmenter(truth).fragments(image, foreground, REGION)
    np.testing.assert_array_equal(first, segmenter(truth).fragments(image, foreground, REGION))
    assert ((first > 0) != (np.load(truth)[REGION.slices] > 0)).any()
    moved = segmenter(truth).fragments(image, foreground, other)
    assert ((first[:, 1:] > 0) != (moved[:, :-1] > 0)).any()
