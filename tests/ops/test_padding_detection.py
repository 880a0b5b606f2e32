"""Padding is found to the pixel, tissue is not taken for it, and what is mirrored into it is tissue."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mitoscale.ops.padding_detection import (
    CELL,
    flat_plane,
    flat_runs,
    mirrored,
    near_border,
    padding_cells,
    padding_pixels,
)


def tissue(shape: tuple[int, ...], seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    """Noise in which all grey values occur, 0 and 255 too."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def pixels(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(Y, X) bool of cells."""
    return np.repeat(np.repeat(cells, CELL, 0), CELL, 1)[: shape[0], : shape[1]]


def found(plane: np.ndarray) -> np.ndarray:
    """(Y, X) bool padding of a slice."""
    size = (-(-plane.shape[0] // CELL), -(-plane.shape[1] // CELL))
    cells = padding_cells(flat_plane(flat_runs(plane[None]), size))
    values = np.unique(plane[pixels(cells, plane.shape)]).tolist()
    border = near_border((0, 0), plane.shape, ((0, plane.shape[0]), (0, plane.shape[1])))
    return padding_pixels(plane, pixels(cells, plane.shape), values, border)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["uint8", "int16", "float32"]))
def test_flat_cells_are_those_of_one_value(height: int, width: int, dtype: str) -> None:
    image = np.zeros((3, height, width), dtype)
    rng = np.random.default_rng(height * 100 + width)
    for _ in range(rng.integers(0, 6)):
        image[rng.integers(3), rng.integers(height) :, rng.integers(width) :] = rng.integers(3)
    runs = flat_runs(image)
    for z, plane in enumerate(image):
        here = {name: column[runs["z"] == z] for name, column in runs.items()}
        flat = flat_plane(here, (-(-height // CELL), -(-width // CELL)))
        for y, x in np.ndindex(*flat.shape):
            cell = plane[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL]
            assert flat[y, x] == (cell.min() == cell.max())


@pytest.mark.parametrize("value", [0, 255, 128])
@pytest.mark.parametrize("frame", [16, 21, 64])
def test_a_frame_is_found_to_the_pixel(value: int, frame: int) -> None:
    plane = np.pad(tissue((192, 200)), frame, constant_values=value)
    truth = np.ones(plane.shape, bool)
    truth[frame:-frame, frame:-frame] = False
    wrong = found(plane) != truth
    assert not (wrong & truth).any()  # nothing of the padding is missed
    assert wrong.sum() <= 4  # a pixel of tissue beside it may have its value


def test_turned_corners_are_found() -> None:
    y, x = np.mgrid[:256, :256]
    truth = y + 0.3 * x < 70
    plane = np.where(truth, 0, tissue((256, 256)))
    wrong = found(plane) != truth
    assert wrong.sum() < 0.01 * truth.sum()


def test_a_thin_wedge_is_found() -> None:
    """A slice that was turned by three degrees: its edge leaves the border by less than a cell for 150 pixels."""
    y, x = np.mgrid[:300, :300]
    truth = y < np.tan(np.deg2rad(3)) * x
    wrong = found(np.where(truth, 0, tissue((300, 300)))) != truth
    assert wrong.sum() < 0.05 * truth.sum()


def test_saturated_spots_are_no_padding() -> None:
    plane = tissue((256, 256))
    plane[100:130, 100:130] = 255  # in the middle, and 24 x 24 pixels at the border
    plane[:24, 60:84] = 0
    assert not found(plane).any()


def test_a_missing_tile_in_the_middle_is_padding() -> None:
    plane = tissue((512, 512))
    plane[160:350, 170:330] = 40
    inside = np.zeros(plane.shape, bool)
    inside[160:350, 170:330] = True
    assert (found(plane) != inside).sum() <= 4


def test_a_black_slice_is_padding_however_small() -> None:
    for shape in ((5, 7), (64, 64)):
        assert found(np.zeros(shape, np.uint8)).all()


def test_mirrored_tissue_has_no_edge() -> None:
    """Beside a frame the picture goes on as it is, turned round; of the frame's own value nothing is left."""
    smooth = (np.add.outer(np.arange(96), np.arange(96)) + 30).astype(np.uint8)
    plane = np.pad(smooth, 32, constant_values=0)
    truth = np.ones(plane.shape, bool)
    truth[32:-32, 32:-32] = False
    seen = mirrored(plane, truth)
    assert (seen[34:-34, 34:-34] == plane[34:-34, 34:-34]).all()
    assert seen.min() >= 30
    assert np.abs(np.diff(seen.astype(int), axis=1))[:, 8:-8].max() <= 4
    row = seen[80]
    assert row[33] == row[34 + 1] and row[20] == row[34 + 14]  # what is 2 pixels from the edge may be mixed, and is mirrored over


@settings(max_examples=25, deadline=None)
@given(box=st.tuples(*[st.integers(0, 240)] * 2, *[st.integers(3, 60)] * 2))
def test_tissue_is_mirrored_so_far_and_all_else_is_grey(box: tuple[int, int, int, int]) -> None:
    y, x, height, width = box
    plane, padding = np.zeros((300, 300), np.uint8), np.ones((300, 300), bool)
    padding[y : y + height, x : x + width] = False
    plane[~padding] = 200
    seen = mirrored(plane, padding)
    hidden = ndimage.binary_dilation(padding, np.ones((3, 3)), iterations=2)
    if hidden.all():
        assert (seen == 128).all()
        return
    near = ndimage.distance_transform_edt(hidden) <= 64
    assert np.array_equal(seen, np.where(near, 200, 128))


def test_where_there_is_no_tissue_all_is_grey() -> None:
    assert (mirrored(np.zeros((9, 9), np.uint8), np.ones((9, 9), bool)) == 128).all()


@pytest.mark.parametrize("seed", range(6))
def test_pixels_of_padding_are_those_of_the_whole_slice_at_once(seed: int) -> None:
    """Only the part where cells end is looked at; the plain rule over all of the slice finds the same."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 9, (150, 170), np.uint8)
    ragged = int(rng.integers(0, 60))
    image[:ragged, : int(rng.integers(1, 170))] = image[100:, : int(rng.integers(0, 40))] = 0
    cells = pixels(padding_cells(flat_plane(flat_runs(image[None]), (19, 22))), image.shape)
    border = near_border((0, 0), (150, 170), ((0, 150), (0, 170)))
    near = border | (ndimage.maximum_filter(cells.view(np.uint8), 33, mode="nearest") > 0)
    wide = np.pad((near & (image == 0)) | cells, 1, mode="edge")
    wanted = cells | ndimage.binary_opening(wide, np.ones((3, 3)))[1:-1, 1:-1]
    assert (padding_pixels(image, cells, [0.0], border) == wanted).all()
