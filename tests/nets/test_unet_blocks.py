"""The U-Net on blocks: what it computes, what it leaves out, and that neighbours say the same of a place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.grid import BlockGrid
from mitoscale.nets import unet_detector
from mitoscale.nets.margin import margin_nm, margin_pixels
from mitoscale.nets.unet import PRESETS, UNet, UNetConfig
from mitoscale.nets.unet_detector import ORIENTATIONS, UNetDetector

THIN, THICK = (10.0, 10.0, 10.0), (30.0, 10.0, 10.0)


class Counting(torch.nn.Module):
    """In the embedded network's place: answers 0.5 everywhere, and knows what it was asked."""

    def __init__(self, config: UNetConfig = PRESETS["small"]) -> None:
        super().__init__()
        self.config = config
        self.stride = config.fold * 2 ** (len(config.widths) - 1)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.asked = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.asked += image.shape[0] * image.shape[2] * image.shape[3]
        return image[:, :1] * self.weight


@pytest.fixture(scope="module")
def small() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(widths=(4, 8), context_nm=(-10.0, 0.0, 10.0))).eval()


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)


@pytest.mark.parametrize("spacing", [(5.0, 5.0, 5.0), (4.0, 5.0, 5.0), (50.0, 4.6, 4.6)])
def test_an_inner_block_of_the_default_size_costs_no_more_than_planned(spacing: Spacing) -> None:
    """Margins, context and averaged neighbours counted; thick slices have blocks of half as many."""
    told = margin_nm("unet-small")
    assert told == (50.0, 320.0, 320.0)
    margin = tuple(int(np.ceil(m / s)) for m, s in zip(told, spacing, strict=True))
    core = (32 if spacing[0] > 15 else 64, 512, 512)
    grid = BlockGrid(region=Region.of_shape(tuple(5 * c for c in core)), core_shape=core, margin=margin)  # type: ignore[arg-type]
    block = grid.block((2, 2, 3))
    model = Counting()
    detector = UNetDetector(model, pixel_nm=5.0, spacing=spacing)  # type: ignore[arg-type]
    found = detector.core_foreground(noise(block.halo.shape), block.halo, block.core)
    assert found.foreground.shape == core and (found.foreground == 128).all()
    assert found.counts["network_pixels"] == model.asked > 0
    assert model.asked / block.core.size <= 1.7
    assert found.counts["network_seconds"] > 0


def test_mirroring_asks_the_network_twice(small: UNet) -> None:
    image, region = noise((3, 40, 40)), Region.of_shape((3, 40, 40))
    once, twice = (
        UNetDetector(small, pixel_nm=10.0, spacing=THICK, mirror=mirror).core_foreground(image, region, region)
        for mirror in (False, True)
    )
    assert twice.counts["network_pixels"] == 2 * once.counts["network_pixels"]
    assert (twice.foreground != once.foreground).any()


def test_slices_of_one_grey_value_never_reach_the_network(small: UNet) -> None:
    image = noise((12, 48, 48))
    image[:5], image[8, 8:40, 8:40] = 0, 200  # the second is flat in the core alone
    region, core = Region.of_shape(image.shape), Region(start=(2, 8, 8), stop=(10, 40, 40))
    detector = UNetDetector(small, pixel_nm=10.0, spacing=THICK)
    found = detector.core_foreground(image, region, core)
    flat = np.array([True] * 3 + [False] * 3 + [True, False])
    assert (found.foreground[flat] == 0).all() and (found.foreground[~flat] > 0).all()
    assert found.counts["flat_voxels"] == flat.sum() * 32 * 32 and found.counts["flat_blocks"] == 0
    rest = UNetDetector(small, pixel_nm=10.0, spacing=THICK).probability(image, [5, 6, 7, 9])[:, 8:40, 8:40]
    assert np.abs(found.foreground[~flat] / 255 - rest).max() < 0.1  # what flat slices are to their neighbours, they stay


@pytest.mark.parametrize("grey", [0, 255, 7])
def test_a_block_without_tissue_costs_nothing(grey: int) -> None:
    model = Counting()
    image, region = np.full((4, 64, 64), grey, np.uint8), Region.of_shape((4, 64, 64))
    found = UNetDetector(model, pixel_nm=5.0, spacing=(5.0, 5.0, 5.0)).core_foreground(image, region, region)  # type: ignore[arg-type]
    assert not found.foreground.any() and model.asked == 0
    assert found.counts == {"network_pixels": 0, "network_seconds": 0, "flat_voxels": image.size, "flat_blocks": 1}


def test_one_pixel_of_tissue_is_enough_to_be_computed() -> None:
    model = Counting()
    image, region = np.zeros((1, 64, 64), np.uint8), Region.of_shape((1, 64, 64))
    image[0, 63, 0] = 1
    found = UNetDetector(model, pixel_nm=5.0, spacing=(50.0, 5.0, 5.0)).core_foreground(image, region, region)  # type: ignore[arg-type]
    assert model.asked > 0 and found.counts["flat_voxels"] == 0


def test_thin_slices_are_seen_in_four_orientations_and_averaged(small: UNet) -> None:
    """Beside the same in plain words: turn, ask, turn back; one part before, two of its own, one behind."""
    image, first = noise((9, 32, 32)), 5
    region = Region.of_shape(image.shape).shifted((first, 0, 0))
    seen = []
    for z in range(len(image)):
        context = torch.from_numpy(image[[max(z - 1, 0), z, min(z + 1, 8)]])[None].float() / 255
        axes = ORIENTATIONS[(first + z) % 4]
        with torch.inference_mode():
            seen.append(small(context.flip(axes)).sigmoid().flip(axes)[0, 0].numpy())
    expected = [(seen[max(z - 1, 0)] + 2 * seen[z] + seen[min(z + 1, 8)]) / 4 for z in range(9)]
    found = UNetDetector(small, pixel_nm=10.0, spacing=THIN).foreground(image, region)
    np.testing.assert_allclose(found, expected, atol=0.01)


@settings(max_examples=25)
@given(st.integers(0, 90), st.integers(0, 90), st.sampled_from([1.0, 0.8, 1.7]), st.sampled_from([THIN, THICK]))
def test_two_blocks_say_the_same_of_a_place(y: int, x: int, ratio: float, spacing: Spacing) -> None:
    """Wherever their cores begin and whatever their neighbours are: windows lie on one lattice."""
    torch.manual_seed(1)
    model = UNet(UNetConfig(widths=(2, 4), context_nm=(-10.0, 0.0, 10.0))).eval()
    volume = noise((6, 160, 160), seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unet_detector, "margin_pixels", lambda stride: 20)  # further than so small a network sees
        detector = UNetDetector(model, pixel_nm=ratio * 10.0, spacing=spacing)
        answers = []
        for start in ((2, 0, 0), (2, y, x)):
            core = Region(start=start, stop=(4, 128, 128))
            read = core.expanded((2, 40, 40), within=Region.of_shape(volume.shape))
            found = detector.core_foreground(volume[read.slices], read, core).foreground
            answers.append(found[:, y - start[1] :, x - start[2] :].astype(int))
    assert np.abs(answers[0] - answers[1]).max() <= 1


def test_threads_change_next_to_nothing(small: UNet) -> None:
    image, region = noise((4, 64, 64)), Region.of_shape((4, 64, 64))
    detector, before = UNetDetector(small, pixel_nm=10.0, spacing=THIN), torch.get_num_threads()
    answers = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        answers.append(detector.core_foreground(image, region, region).foreground.astype(int))
    torch.set_num_threads(before)
    assert np.abs(answers[0] - answers[1]).max() <= 1


def test_the_margin_is_told_by_the_weights() -> None:
    assert margin_pixels(32) == 64
    assert margin_nm("no-such-weights") is None
