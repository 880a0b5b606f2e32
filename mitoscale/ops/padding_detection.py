"""Padding: areas of one grey value that lie around the tissue, found in cells of 8 x 8 pixels and followed to the pixel.

Tissue is noisy: 64 pixels that are equal to the last bit are padding, or a saturated part that holds no information either. Cells
lie on one lattice for the whole volume, so whether a cell is flat does not depend on the block that looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mitoscale.ops.grey_histogram import bins_of

CELL = 8
"""Edge of a cell in pixels."""

_SMALLEST = 16
"""Cells in the least area at the border of a slice that is padding."""
_SMALLEST_INSIDE = 256
"""Cells in the least area that meets no border, such as a missing tile of a mosaic."""
_REACH = 2 * CELL
"""How far from a cell of padding, in pixels, there may be more of it: a corner that no whole cell fits into."""
RIM = 2
"""Pixels beside padding that an alignment may have mixed with it: the networks do not see them."""
_MIRRORED = 64
"""How far into padding, in pixels, tissue is mirrored: further than the networks look from tissue."""
_GREY = 128
"""What the networks see where there is no tissue in reach."""

Runs = dict[str, np.ndarray]
"""Flat cells: columns z, y, first and last x (half-open) in cells, and bin of the grey value, (N,) int64 each."""


def flat_runs(image: np.ndarray) -> Runs:
    """Cells of which all pixels are equal, as runs along x of one grey value; those at the far border may be smaller than a cell.

    Parameters
    ----------
    image : (Z, Y, X)
        Grey values, from the corner of a cell on.

    Examples
    --------
    >>> image = np.arange(16 * 32, dtype=np.uint16).reshape(1, 16, 32); image[0, 8:, :16] = 7
    >>> {name: column.tolist() for name, column in flat_runs(image).items()}
    {'z': [0], 'y': [1], 'x0': [0], 'x1': [2], 'bin': [7]}
    """
    found: dict[str, list[np.ndarray]] = {name: [np.zeros(0, np.int64)] for name in ("z", "y", "x0", "x1", "bin")}
    missing = [(0, -n % CELL) for n in image.shape[1:]]
    for z, plane in enumerate(image):
        cells = np.pad(plane, missing, mode="edge") if any(n for _, n in missing) else plane
        cells = cells.reshape(cells.shape[0] // CELL, CELL, cells.shape[1] // CELL, CELL)
        first = cells[:, 0, :, 0]
        y, x = np.nonzero(first == cells[:, -1, :, -1])
        also = first[y, x] == cells[y, CELL // 2, x, CELL // 2]
        if not also.any():  # as in all slices without padding
            continue
        y, x = y[also], x[also]
        if not (also.all() and (plane == plane[0, 0]).all()):  # else all of the slice is flat, which is told sooner
            kept = (cells[y, :, x, :] == first[y, x][:, None, None]).all((1, 2))
            y, x = y[kept], x[kept]
        value = bins_of(first[y, x]).astype(np.int64)
        starts = np.ones(len(y), bool)
        starts[1:] = (np.diff(y) != 0) | (np.diff(x) != 1) | (np.diff(value) != 0)
        begin = np.flatnonzero(starts)
        end = np.append(begin[1:], len(y)) - 1 if len(y) else begin
        columns = {"z": np.full(len(begin), z), "y": y[begin], "x0": x[begin], "x1": x[end] + 1, "bin": value[begin]}
        for name, column in columns.items():
            found[name].append(column.astype(np.int64))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def flat_plane(runs: Runs, shape: tuple[int, int]) -> np.ndarray:
    """(Y, X) bool cells of one slice's runs.

    Parameters
    ----------
    runs : Runs
        Of one slice.
    shape : (y, x)
        Cells in a slice.
    """
    change = np.zeros((shape[0], shape[1] + 1), np.int32)
    np.add.at(change, (runs["y"], runs["x0"]), 1)
    np.add.at(change, (runs["y"], runs["x1"]), -1)
    return np.cumsum(change, axis=1)[:, :-1] > 0


def padding_cells(flat: np.ndarray) -> np.ndarray:
    """The flat cells of a slice that are padding: large areas at its border, and very large ones anywhere.

    Parameters
    ----------
    flat : (Y, X) bool
        Cells of a whole slice.

    Returns
    -------
    (Y, X) bool

    Examples
    --------
    >>> flat = np.zeros((20, 20), bool); flat[:4, :4] = True; flat[10:14, 10:14] = True
    >>> np.argwhere(padding_cells(flat)).max(0).tolist()
    [3, 3]
    """
    if not flat.any():
        return flat
    areas, count = ndimage.label(flat, np.ones((3, 3)))
    size = np.bincount(areas.ravel(), minlength=count + 1)
    at_border = np.zeros(count + 1, bool)
    for edge in (areas[0], areas[-1], areas[:, 0], areas[:, -1]):
        at_border[edge] = True
    # A slice that is smaller than the least area is padding where all of it is flat.
    kept = (size >= _SMALLEST_INSIDE) | (at_border & (size >= min(_SMALLEST, flat.size)))
    kept[0] = False
    return kept[areas]


def padding_pixels(image: np.ndarray, cells: np.ndarray, values: Sequence[float], border: np.ndarray) -> np.ndarray:
    """Padding to the pixel: the cells, and what has a padding's grey value near to them or near to the border of the slice.

    Parameters
    ----------
    image : (Y, X)
        Grey values of a part of a slice.
    cells : (Y, X) bool
        For each pixel whether its cell is padding.
    values : sequence of float
        Grey values that padding has.
    border : (Y, X) bool
        Pixels near to the border of the slice, where padding may be thinner than a cell; see :func:`near_border`.

    Returns
    -------
    (Y, X) bool
    """
    if cells.all():
        return cells
    same = np.isin(image, np.array(values, image.dtype)) & ~cells
    if not same.any():  # as where padding ends with a cell
        return cells
    part = tuple(
        slice(max(0, int(found[0]) - _REACH), int(found[-1]) + 1 + _REACH)
        for found in (np.flatnonzero(same.any(axis)) for axis in (1, 0))
    )
    near = border[part] | (ndimage.maximum_filter(cells[part].view(np.uint8), 2 * _REACH + 1, mode="nearest") > 0)
    same = same[part] & near
    if not same.any():
        return cells
    wide = np.pad(same | cells[part], 1, mode="edge")
    result = cells.copy()
    result[part] |= ndimage.binary_opening(wide, np.ones((3, 3)))[1:-1, 1:-1]  # single pixels of tissue may have its value, too
    return result


def beside(padding: np.ndarray) -> np.ndarray:
    """(Z, Y, X) bool: padding, and what is near to it: a slice, and :data:`RIM` pixels.

    Parameters
    ----------
    padding : (Z, Y, X) bool
        Where there is no tissue.

    Examples
    --------
    >>> padding = np.zeros((3, 1, 9), bool); padding[1, 0, 4] = True
    >>> beside(padding)[:, 0].sum(1).tolist()
    [5, 5, 5]
    """
    edge = 2 * RIM + 1
    found: np.ndarray = ndimage.maximum_filter(padding.view(np.uint8), (3, edge, edge), mode="constant") > 0
    return found


def near_border(start: tuple[int, int], shape: tuple[int, int], whole: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """(Y, X) bool: the pixels of a part of a slice that are near to the border of the slice.

    Parameters
    ----------
    start : (y, x)
        First pixel of the part.
    shape : (y, x)
        Its shape.
    whole : ((y0, y1), (x0, x1))
        The slice.
    """
    y, x = (
        np.minimum(np.arange(a, a + n) - low, high - 1 - np.arange(a, a + n)) < _REACH
        for a, n, (low, high) in zip(start, shape, whole, strict=True)
    )
    return y[:, None] | x[None]


def mirrored(image: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """A slice whose padding mirrors the tissue beside it, so that its edge looks like no membrane; grey far from any.

    Parameters
    ----------
    image : (Y, X) uint8
        Normalised grey values.
    padding : (Y, X) bool
        Where there is no tissue.

    Returns
    -------
    (Y, X) uint8

    Examples
    --------
    >>> row = np.array([[10, 20, 30, 40, 50, 0, 0, 0]], np.uint8)
    >>> mirrored(row, row == 0).tolist()
    [[10, 20, 30, 20, 10, 10, 10, 10]]
    """
    if not padding.any():
        return image
    if padding.all():
        return np.full_like(image, _GREY)
    part = _with_surroundings(~padding)
    result = np.full_like(image, _GREY)
    image, hidden, seen = image[part], ndimage.binary_dilation(padding[part], np.ones((3, 3)), iterations=RIM), result[part]
    if hidden.all():
        return result
    nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    y, x = np.nonzero(hidden)
    y0, x0 = nearest[:, y, x]
    far_y, far_x = (np.clip(2 * a - b, 0, n - 1) for a, b, n in zip((y0, x0), (y, x), image.shape, strict=True))
    filled = np.where(hidden[far_y, far_x], image[y0, x0], image[far_y, far_x])
    seen[...] = image
    seen[y, x] = np.where((y - y0) ** 2 + (x - x0) ** 2 <= _MIRRORED**2, filled, _GREY)
    return result


def _with_surroundings(tissue: np.ndarray) -> tuple[slice, slice]:
    """The smallest part of a slice that holds its tissue and all that is mirrored into."""
    y, x = (np.flatnonzero(tissue.any(axis)) for axis in (1, 0))
    return tuple(slice(max(0, int(found[0]) - _MIRRORED), int(found[-1]) + 1 + _MIRRORED) for found in (y, x))  # type: ignore[return-value]
