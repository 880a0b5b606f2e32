"""SAM on slices: masks where the prompts ask, the same from every block, and large profiles in parts."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
import pytest

from mitoscale.core.geometry import Region
from mitoscale.nets.checkpoint import load_sam
from mitoscale.nets.predictors import Counting
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.nets.sam_questions import Question
from mitoscale.nets.sam_segmenter import SamSegmenter, _Answer, _Window
from mitoscale.ops.masks import Mask
from mitoscale.ops.phantom import Phantom
from mitoscale.ops.prompts import Prompts, prompts_from_profiles

SPACING = (10.0, 10.0, 10.0)
Z = 10


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    model, card = load_sam("sam-small")
    return SamSegmenter(model, pixel_nm=card.pixel_nm, spacing=SPACING)


def prompts_of(labels: np.ndarray) -> Prompts:
    return prompts_from_profiles(cc3d.connected_components(labels.astype(np.uint32), connectivity=8).astype(np.int32))


def region_of(image: np.ndarray, y: int = 0, x: int = 0) -> Region:
    return Region.of_shape((1, *image.shape)).shifted((Z, y, x))


def ask(segmenter: SamSegmenter, image: np.ndarray, foreground: np.ndarray, prompts: Prompts, y: int = 0, x: int = 0) -> list[Mask]:
    """The masks of a single slice."""
    return segmenter.masks(image[None], foreground[None], [prompts], region_of(image, y, x))[0]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.fixture(scope="module")
def crops(segmenter: SamSegmenter, phantom: Phantom) -> list[Mask]:
    prompts = prompts_of(phantom.labels[Z])
    foreground = (prompts.profiles > 0).astype(np.float32)
    return ask(segmenter, phantom.image[Z], foreground, prompts)


def test_masks_cover_the_mitochondria_asked_for(phantom: Phantom, crops: list[Mask]) -> None:
    prompts = prompts_of(phantom.labels[Z])
    assert all(0 <= m.score <= 1 for m in crops)
    assert len(prompts) > 5
    masks = np.zeros((len(prompts), *phantom.image[Z].shape), bool)
    for crop in crops:
        masks[crop.profile - 1][crop.slices] |= crop.mask
    assert np.median([iou(m, prompts.profiles == i + 1) for i, m in enumerate(masks)]) > 0.6


def test_crops_lie_within_the_slice(phantom: Phantom, crops: list[Mask]) -> None:
    height, width = phantom.image[Z].shape
    assert {c.profile for c in crops} <= set(range(1, int(prompts_of(phantom.labels[Z]).profiles.max()) + 1))
    assert any(0 in (c.y0, c.x0) for c in crops), "no mitochondrion at the border: the test needs one"
    for crop in crops:
        h, w = crop.mask.shape
        assert 0 <= crop.y0 < crop.y0 + h <= height and 0 <= crop.x0 < crop.x0 + w <= width
        assert crop.logits is not None and crop.logits.dtype == np.float32
        assert (crop.mask == (crop.logits > 0)).all() and crop.mask.any()


def test_no_prompts_no_masks(segmenter: SamSegmenter, phantom: Phantom) -> None:
    image = phantom.image[Z]
    nothing = prompts_of(np.zeros_like(image))
    assert ask(segmenter, image, np.zeros(image.shape, np.float32), nothing) == []


def test_each_slice_has_its_own_masks(segmenter: SamSegmenter, phantom: Phantom, crops: list[Mask]) -> None:
    """A region's slices are those of single slices, and those without prompts have none."""
    image = phantom.image[Z - 1 : Z + 2]
    prompts = [prompts_of(np.zeros_like(image[0])), *(prompts_of(plane) for plane in phantom.labels[Z : Z + 2])]
    foreground = np.stack([p.profiles > 0 for p in prompts]).astype(np.float32)
    first, second, third = segmenter.masks(image, foreground, prompts, Region.of_shape(image.shape).shifted((Z - 1, 0, 0)))
    assert first == [] and len(second) == len(crops) and len(third) > 5
    for a, b in zip(second, crops, strict=True):
        assert a.profile == b.profile and iou(a.mask, b.mask) > 0.98 if a.mask.shape == b.mask.shape else False


def placed(mask: Mask, shape: tuple[int, ...]) -> np.ndarray:
    full = np.zeros(shape, bool)
    full[mask.slices] = mask.mask
    return full


def test_two_read_regions_give_nearly_the_same_masks(segmenter: SamSegmenter, phantom: Phantom, crops: list[Mask]) -> None:
    """Other windows show a profile in another place; what both have read must look alike where it is compared."""
    y, x = 19, 7
    prompts = prompts_of(phantom.labels[Z])
    part = prompts_of(phantom.labels[Z, y:, x:])
    image = phantom.image[Z, y:, x:]
    again = ask(segmenter, image, (part.profiles > 0).astype(np.float32), part, y, x)
    alike = []
    for a in crops:
        y0, x0 = prompts.boxes[a.profile - 1][:2]
        if y0 > y + 4 and x0 > x + 4:
            number = part.profiles[tuple(prompts.points[a.profile - 1].astype(int) - (y, x))]
            b = next(m for m in again if m.profile == number)
            alike.append(iou(placed(a, phantom.labels[Z].shape)[y:, x:], placed(b, image.shape)))
    assert len(alike) > 5 and np.median(alike) > 0.95 and min(alike) > 0.8, sorted(alike)[:3]


def test_few_windows_are_encoded_and_none_where_nothing_is_asked(segmenter: SamSegmenter, phantom: Phantom) -> None:
    fresh = SamSegmenter(segmenter.model, pixel_nm=10.0, spacing=SPACING)
    image = phantom.image[Z : Z + 3]
    prompts = [prompts_of(phantom.labels[Z]), prompts_of(np.zeros_like(image[0])), prompts_of(phantom.labels[Z + 2])]
    fresh.masks(image, np.zeros(image.shape, np.float32), prompts, Region.of_shape(image.shape))
    assert isinstance(fresh, Counting)
    assert fresh.counts["network_pixels"] == 2 * 256**2 and fresh.counts["network_seconds"] > 0  # a slice fits into a window


class Everything(SamSegmenter):
    """Answers each question with its whole window, which cuts that."""

    def _forward(self, crops: np.ndarray, windows: Sequence[_Window], asked: Sequence[tuple[int, Question]]) -> list[_Answer]:
        self.seen = [*getattr(self, "seen", []), *(w.start for w in windows)]
        return [_Answer(logits=np.ones((64, 64), np.float32), corner=(0, 0), score=0.9) for _ in asked]


def test_a_mask_that_its_window_cuts_is_asked_for_again_once(segmenter: SamSegmenter) -> None:
    asker = Everything(segmenter.model, pixel_nm=10.0, spacing=SPACING)
    profiles = np.zeros((300, 600), np.int32)
    for number, (y, x) in enumerate(((60, 100), (200, 240)), start=1):
        profiles[y, x] = number
    found = ask(asker, profiles.astype(np.uint8), np.zeros(profiles.shape, np.float32), prompts_from_profiles(profiles))
    assert asker.seen == [(0, 48), (0, 0), (32, 112)]  # one window for both; then each in the middle, as far as the slice goes
    assert [m.profile for m in found] == [1, 2]


def test_a_profile_larger_than_a_window_is_asked_for_in_parts(segmenter: SamSegmenter) -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((60, 420), bool)
    truth[18:44, 6:414] = True
    image = np.where(truth, 90, 190) + rng.normal(0, 6, truth.shape)
    image[truth & ~np.pad(truth[20:42, 8:412], ((20, 18), (8, 8)))] = 40
    prompts = prompts_of(truth)
    found = ask(segmenter, np.clip(image, 0, 255).astype(np.uint8), truth.astype(np.float32), prompts)
    assert len(found) >= 3 and {m.profile for m in found} == {1}
    union = np.zeros_like(truth)
    for mask in found:
        union[mask.slices] |= mask.mask
    assert iou(union, truth) > 0.5


def test_without_a_pixel_size_the_volumes_own_is_used() -> None:
    model = Sam(SamConfig(image_size=64, width=24, depth=1, heads=2, embedding=32, decoder_mlp=32))
    assert SamSegmenter(model, pixel_nm=None, spacing=(30.0, 4.0, 4.0)).ratios == (1.0, 1.0)
    assert SamSegmenter(model, pixel_nm=5.0, spacing=(30.0, 4.0, 2.5)).ratios == (1.25, 2.0)
