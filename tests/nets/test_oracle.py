"""Predictors that know the truth, and the documentation's example of a foreign model."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import mitoscale.nets.predictors as predictors
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.factories import make_detector, make_segmenter
from mitoscale.nets.predictors import MaskSegmenter, VolumeSegmenter
from mitoscale.nets.validate import ask_masks, checked_foreground, checked_fragments
from mitoscale.ops.prompts import prompts_from_profiles
from synthetic.scene import make_scene

SPACING = (10.0, 10.0, 10.0)
REGION = Region(start=(8, 4, 0), stop=(40, 44, 48))


@pytest.fixture
def truth(tmp_path: Path) -> str:
    np.save(tmp_path / "truth.npy", make_scene((48, 48, 48), objects=4, seed=1, radius=(5, 7), length=(30, 50)))
    return str(tmp_path / "truth.npy")


def segmenter(truth: str) -> VolumeSegmenter:
    settings = SegmentSettings(segmenter="mitoscale.nets.oracle:Fragments", options={"truth": truth})
    made = make_segmenter(settings, SPACING)
    assert isinstance(made, VolumeSegmenter) and not isinstance(made, MaskSegmenter)
    return made


def test_the_truth_is_read_by_region(truth: str) -> None:
    labels, image = np.load(truth)[REGION.slices], np.zeros(REGION.shape, np.uint8)
    detector = make_detector(DetectSettings(detector="mitoscale.nets.oracle:Foreground", options={"truth": truth}), SPACING)
    foreground = detector.foreground(image, REGION)
    np.testing.assert_array_equal(foreground, labels > 0)
    fragments = segmenter(truth).fragments(image, foreground, REGION)
    np.testing.assert_array_equal(fragments > 0, labels > 0)
    for value in np.unique(fragments[fragments > 0]):
        assert len(np.unique(labels[fragments == value])) == 1


@pytest.mark.parametrize("start", [0, 8])
def test_whole_slices_of_the_truth_are_fragments_too(truth: str, start: int) -> None:
    """They lie in the file in one piece, and can be handed out without a copy."""
    region = Region(start=(start, 0, 0), stop=(40, 48, 48))
    labels, image = np.load(truth)[region.slices], np.zeros(region.shape, np.uint8)
    fragments = segmenter(truth).fragments(image, (labels > 0).astype(np.float32), region)
    np.testing.assert_array_equal(fragments > 0, labels > 0)


def test_masks_answer_the_prompts(truth: str) -> None:
    made = make_segmenter(SegmentSettings(segmenter="mitoscale.nets.oracle:Masks", options={"truth": truth}), SPACING)
    assert isinstance(made, MaskSegmenter)
    z = REGION.start[0] + int(np.argmax((np.load(truth)[REGION.slices] > 0).sum(axis=(1, 2))))
    plane = Region(start=(z, *REGION.start[1:]), stop=(z + 1, *REGION.stop[1:]))
    labels = np.load(truth)[plane.slices][0]
    found = np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)
    foreground = (labels > 0).astype(np.float32)[None]
    (masks,) = made.masks(np.zeros((1, *labels.shape), np.uint8), foreground, [prompts_from_profiles(found)], plane)
    assert [m.profile for m in masks] == list(range(1, int(found.max()) + 1)) and all(m.score == 1 for m in masks)
    assert all(m.mask.any() and len(np.unique(labels[m.slices][m.mask])) == 1 for m in masks)


def test_wrong_truth_is_refused(truth: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        segmenter(str(tmp_path / "none.npy"))
    np.save(tmp_path / "flat.npy", np.zeros((4, 4)))
    with pytest.raises(InputError, match="integers are wanted"):
        segmenter(str(tmp_path / "flat.npy"))
    beyond = Region(start=(0, 0, 0), stop=(49, 48, 48))
    with pytest.raises(InputError, match="does not cover"):
        segmenter(truth).fragments(np.zeros(beyond.shape, np.uint8), np.zeros(beyond.shape, np.float32), beyond)


ARCHITECTURE = """
import torch

class UNet3D(torch.nn.Module):
    # Dark is foreground, very dark is membrane.
    def __init__(self):
        super().__init__()
        self.limits = torch.nn.Parameter(torch.zeros(2))

    def forward(self, image):
        return torch.sigmoid(40 * (self.limits.view(1, 2, 1, 1, 1) - image))
"""
"""Stands for a lab's network."""


def test_the_documented_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (predictors.__doc__ or "").split("::\n", 1)[1].split("# mitoscale run", 1)[0]
    (tmp_path / "lab_net.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lab_unet.py").write_text(ARCHITECTURE)
    weights = str(tmp_path / "lab.pt")
    torch.save({"limits": torch.tensor([0.6, 0.2])}, weights)
    image = np.full((4, 20, 30), 220, np.uint8)
    image[:, 4:16, 4:14] = image[:, 4:16, 16:28] = 100
    image[:, 4:16, 14:16] = 20
    region = Region.of_shape(image.shape)
    try:
        detector = make_detector(DetectSettings(detector="lab_net:LabNet", options={"weights": weights}), SPACING)
        foreground = checked_foreground(detector.foreground(image, region), image.shape)
        made = make_segmenter(
            SegmentSettings(segmenter="lab_net:LabNet", options={"weights": weights, "threshold": "0.4"}), SPACING
        )
        assert isinstance(made, VolumeSegmenter)
        fragments = checked_fragments(made.fragments(image, foreground, region), image.shape)
    finally:
        for name in ("lab_net", "lab_unet"):
            sys.modules.pop(name, None)
    assert fragments[0, 10, 8] != fragments[0, 10, 22] and (fragments[:, 4:16, 4:28] > 0).all() and not fragments[:, 0].any()


def test_the_documented_example_of_a_model_of_slices_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (predictors.__doc__ or "").split("::\n", 2)[2].split("# mitoscale run", 1)[0]
    (tmp_path / "lab_sam.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    image = np.full((2, 20, 30), 220, np.uint8)
    image[1, 4:16, 4:14] = 60
    prompts = [prompts_from_profiles((plane < 100).astype(np.int32)) for plane in image]
    try:
        made = make_segmenter(SegmentSettings(segmenter="lab_sam:factory"), SPACING)
        assert isinstance(made, MaskSegmenter)
        first, (mask,) = ask_masks(made, image, (image < 100).astype(np.float32), prompts, Region.of_shape(image.shape))
    finally:
        sys.modules.pop("lab_sam", None)
    assert first == [] and (mask.y0, mask.x0, mask.mask.shape, mask.profile) == (4, 4, (12, 10), 1)
