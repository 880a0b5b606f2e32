"""Windows to adapt to: spread, apart, and only where there is tissue."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from mitoscale.core.errors import InputError
from mitoscale.evaluation.grey_volume import GreyVolume, open_grey
from mitoscale.evaluation.tissue_windows import Window, tissue_windows

CONTEXT = (-40.0, 0.0, 40.0)


def opened(image: np.ndarray, folder: Path) -> GreyVolume:
    """The image as a volume of 20 x 20 x 20 nm."""
    tifffile.imwrite(folder / "stack.tif", image)
    return open_grey(str(folder / "stack.tif"), (20.0, 20.0, 20.0))


def noise(*shape: int) -> np.ndarray:
    """Grey values that nobody takes for resin."""
    return np.random.default_rng(0).normal(128, 40, shape).clip(0, 255).astype(np.uint8)


def windows_of(image: np.ndarray, folder: Path, count: int) -> list[Window]:
    return tissue_windows(opened(image, folder), CONTEXT, count, 0)


def test_windows_are_spread_over_all_slices_and_apart(tmp_path: Path) -> None:
    found = windows_of(noise(40, 300, 300), tmp_path, 8)
    slices = [w.region.start[0] for w in found]
    assert len(found) == 8 and slices == sorted(slices)
    assert slices[0] < 10 and slices[-1] >= 30 and max(np.diff(slices)) <= 12
    assert not any(a.region.intersection(b.region) for a, b in combinations(found, 2))
    assert all(w.image.shape[1:] == (128, 128) and w.image.shape[0] <= 5 for w in found), "2.56 um, and 40 nm on each side"


def test_a_window_is_its_slice_with_its_neighbours(tmp_path: Path) -> None:
    image = noise(12, 128, 128)
    volume = opened(image, tmp_path)
    for window in tissue_windows(volume, CONTEXT, 12, 0):
        z = window.region.start[0]
        low, high = max(z - 2, 0), min(z + 3, 12)
        np.testing.assert_array_equal(window.image, volume.normalisation.apply(image[low:high]))
        assert window.own == z - low


def stack(depth: int, size: int) -> np.ndarray:
    """Grey values that go on from slice to slice."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(depth, size, size)), 4)
    return (128 + 30 * smooth / smooth.std()).clip(1, 254).astype(np.uint8)


@pytest.mark.parametrize("fault", [np.zeros_like, lambda plane: plane // 2 + 110, lambda plane: np.roll(plane, 30, 0)])
def test_bad_slices_are_not_looked_at_where_there_are_others(fault: Callable[[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    image = stack(24, 128)
    sound = windows_of(image, tmp_path, 8)
    assert len(sound) == 8 and any(abs(w.region.start[0] - 11) <= 2 for w in sound)
    image[11] = fault(image[11])
    found = windows_of(image, tmp_path, 8)
    assert len(found) == 8 and not any(abs(w.region.start[0] - 11) <= 2 for w in found)


def test_bad_slices_are_looked_at_where_there_are_no_others(tmp_path: Path) -> None:
    image = stack(5, 128)
    image[2] = image[2] // 2 + 110
    assert len(windows_of(image, tmp_path, 3)) == 3


def test_windows_lie_where_tissue_is(tmp_path: Path) -> None:
    image = np.full((16, 512, 512), 200, np.uint8)
    image[4:12, :256, :256] = noise(8, 256, 256)
    found = windows_of(image, tmp_path, 6)
    assert found and all(4 <= w.region.start[0] < 12 and max(w.region.start[1:]) <= 128 for w in found)


def test_without_tissue_there_is_one_line(tmp_path: Path) -> None:
    resin = np.random.default_rng(0).normal(128, 1.5, (8, 256, 256)).astype(np.uint8)
    resin[:, -8:] = np.arange(256)  # dirt at the border, which decides on the normalisation
    with pytest.raises(InputError, match=r"stack\.tif: \d+ windows of 2\.56 um all over it were looked at, and [01] of them hold"):
        windows_of(resin, tmp_path, 4)
