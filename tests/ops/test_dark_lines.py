"""Dark lines are told from bright ones, whatever the pixel size and its ratio, and nothing is told where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mitoscale.ops.dark_lines import bright_excess, line_sums, seem_bright


def cells(pixel: tuple[float, float], seed: int = 0, edge_nm: float = 2400.0) -> np.ndarray:
    """(Y, X) uint8: areas around random points, parted by dark lines 20 nm wide, with noise."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, edge_nm, (40, 2))
    y, x = (np.arange(0, edge_nm, p) for p in pixel)
    near = np.partition(np.hypot(y[:, None, None] - points[:, 0], x[None, :, None] - points[:, 1]), 1, axis=2)
    image = np.where(near[..., 1] - near[..., 0] < 20, 60.0, 160.0) + rng.normal(0, 12, near.shape[:2])
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("pixel", [(5.0, 5.0), (10.0, 10.0), (4.0, 12.0), (2.5, 2.5)])
def test_lines_dark_and_bright(pixel: tuple[float, float]) -> None:
    image = cells(pixel)
    assert not seem_bright([line_sums(image, pixel)])
    assert seem_bright([line_sums(255 - image, pixel)])
    excess, error = bright_excess([line_sums(255 - image, pixel)])
    assert excess > 1 and error < excess / 5


def test_noise_and_nothing_are_told_nothing() -> None:
    rng = np.random.default_rng(1)
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(120, 20, (3, 200, 200)).clip(0, 255).astype(np.uint8)
        assert not seem_bright([line_sums(plane, (10.0, 10.0)) for plane in noise])
    assert bright_excess([]) == bright_excess([line_sums(np.full((400, 400), 9, np.uint8), (10.0, 10.0))]) == (0.0, float("inf"))
    few = [line_sums(rng.integers(0, 255, (30, 3), np.uint8), (10.0, 10.0))]
    assert bright_excess(few) == (0.0, float("inf"))


def test_blobs_are_no_lines() -> None:
    """Bright vesicles everywhere among dark lines do not turn the answer round."""
    image, rng = cells((5.0, 5.0)).astype(float), np.random.default_rng(2)
    spots = np.zeros(image.shape)
    spots[tuple(rng.integers(0, image.shape[0], (2, 900)))] = 1
    spots = ndimage.gaussian_filter(spots, 4)
    assert not seem_bright([line_sums((image + 80 * spots / spots.max()).clip(0, 255).astype(np.uint8), (5.0, 5.0))])


def test_what_is_no_tissue_does_not_count() -> None:
    image, padding = cells((5.0, 5.0)), np.zeros((480, 480), bool)
    mixed = image.copy()
    mixed[:, 240:], padding[:, 240:] = 255 - image[:, 240:], True
    half = line_sums(mixed, (5.0, 5.0), padding).sum(0)
    assert half[0] > 3 * half[1]
    assert not line_sums(image, (5.0, 5.0), np.ones(image.shape, bool)).any()
