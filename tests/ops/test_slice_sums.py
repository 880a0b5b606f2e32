"""Sums of slices are what whole numbers of any size give, whatever the dtype they are added up in."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.ops import slice_sums as strips
from mitoscale.ops.padding_detection import CELL, flat_runs
from mitoscale.ops.slice_sums import slice_sums


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32"])
@pytest.mark.parametrize("shape", [(3, 40, 48), (2, 13, 9), (1, 100, 131), (2, 8, 1)])
def test_sums_are_exact(dtype: str, shape: tuple[int, int, int]) -> None:
    limits, rng = np.iinfo(dtype), np.random.default_rng(3)
    image = rng.integers(limits.min, min(limits.max, 2**20), shape, endpoint=True).astype(dtype)
    image[0, ::2], image[0, 1::2] = limits.min, min(limits.max, 2**20)  # the largest steps there can be
    image[0, :, 1::2] = image[0, ::-1, 1::2]
    sums = slice_sums(image, flat_runs(image), len(image))
    exact = image.astype(object)
    for z, plane in enumerate(exact):
        steps = plane[::4, 1:] - plane[::4, :-1]
        assert sums["edges"][z] == (steps * steps).sum()
        height, width = (n // CELL for n in plane.shape)
        cells = [
            sum(plane[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL].ravel().tolist()) // CELL**2
            for y in range(height)
            for x in range(width)
        ]
        assert sums["tissue"][z] == len(cells) and sums["sum"][z] == sum(cells)
        assert sums["squares"][z] == sum(c * c for c in cells)


@pytest.mark.parametrize("pixels", [1, 200, 1500])
def test_slices_are_summed_up_strip_by_strip(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few pixels are worked on at once, and whether slices lie in one piece."""
    rng = np.random.default_rng(4)
    wide = rng.integers(0, 256, (3, 77, 90), dtype=np.uint8)
    wide[:, ::2], wide[:, 1::2] = wide[:, ::2] // 128 * 255, 255 - wide[:, :-1:2] // 128 * 255
    wide[1, 16:32, :40] = 9  # cells that do not count
    parts = (wide, wide[:, :, 3:62], wide[:, 5:, :7], wide[:, :, :1], wide[:, :0])
    for image in (*parts, *(part.astype(np.uint16) * 257 for part in parts), (wide.astype(np.int16) - 128) * 256):
        runs = flat_runs(image)
        expected = slice_sums(image.astype(np.int32), runs, 3)  # other ways to the same sums
        with monkeypatch.context() as small:
            small.setattr(strips, "_STRIP", pixels)
            found = slice_sums(image, runs, 3)
        assert {name: values.tolist() for name, values in found.items() if name != "digest"} == {
            name: values.tolist() for name, values in expected.items() if name != "digest"
        }


def test_equal_slices_have_one_digest_and_others_have_others() -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 16, 16), dtype=np.uint8)
    image[1] = image[0]
    first, second, third = slice_sums(image, flat_runs(image), 3)["digest"]
    assert first == second != third
