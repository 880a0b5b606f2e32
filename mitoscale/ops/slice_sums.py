"""Sums over slices that tell a lost, blurred, shifted or otherwise bad slice from its neighbours, part by part of the volume.

Slices are compared by the means of their cells of 8 x 8 pixels; flat cells, which are padding, do not count. Of integers all sums
are whole numbers, so those of parts add up to that of the whole exactly; of floats, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xxhash

from mitoscale.ops.padding_detection import CELL, Runs, flat_plane

AHEAD = 2
"""A slice is compared with so many after it."""

_ROWS = CELL // 2
"""Of so many rows one tells how sharp a slice is."""

_STRIP = 2**18
"""Pixels of a slice that are worked on at once: what fits into the cache."""

_EXACT = 256
"""So many squares of differences of bytes add up to less than 2^24: exactly in float32, in which that is fast."""

_PAIR = ("cells", "a", "b", "aa", "bb", "ab")

Sums = dict[str, np.ndarray]
"""Name -> (Z,) sum of each slice."""


def slice_sums(image: np.ndarray, runs: Runs, depth: int) -> Sums:
    """Sums of each slice of a part of the volume.

    Parameters
    ----------
    image : (Z, Y, X)
        Grey values from the corner of a cell on, with up to :data:`AHEAD` slices more than ``depth``.
    runs : Runs
        Its flat cells, from :func:`mitoscale.ops.padding_detection.flat_runs`.
    depth : int
        How many of its slices are summed up.

    Returns
    -------
    dict
        ``tissue``: cells that are not flat; ``sum`` and ``squares`` of their means; ``edges``: squared differences of pixels that
        are neighbours along x, in each fourth row; ``digest`` (uint64); and of pairs with the next slice and the one after it
        (1, 2) ``cells`` that are flat in neither, and the sums of their means (``a``, ``b``) and products (``aa``, ``bb``, ``ab``).
    """
    kind = np.dtype(np.int64 if image.dtype.kind in "iu" else np.float64)
    height, width = (n // CELL for n in image.shape[1:])  # cells that the border cuts tell little
    means, tissue = [], []
    for z, plane in enumerate(image):
        cells = _cell_sums(plane[: height * CELL, : width * CELL], kind)
        means.append(cells // CELL**2 if kind == np.int64 else cells / CELL**2)
        here = {name: column[runs["z"] == z] for name, column in runs.items()}
        whole = (-(-plane.shape[0] // CELL), -(-plane.shape[1] // CELL))
        tissue.append(~flat_plane(here, whole)[:height, :width])
    names = [f"{name}{ahead}" for ahead in (1, 2) for name in _PAIR]
    sums: Sums = {name: np.zeros(depth, kind) for name in ("tissue", "sum", "squares", "edges", *names)}
    sums["digest"] = np.zeros(depth, np.uint64)
    for z in range(depth):
        a = _kept(means[z], tissue[z])
        sums["tissue"][z], sums["sum"][z], sums["squares"][z] = len(a), a.sum(), (a * a).sum()
        sums["edges"][z] = _squared_steps(image[z, ::_ROWS], kind)
        sums["digest"][z] = xxhash.xxh3_64_intdigest(np.ascontiguousarray(image[z]).data)
        for ahead in range(1, AHEAD + 1):
            if z + ahead >= len(image):
                continue
            both = tissue[z] & tissue[z + ahead]
            a, b = _kept(means[z], both), _kept(means[z + ahead], both)
            found = (len(a), a.sum(), b.sum(), a @ a, b @ b, a @ b)
            for name, value in zip(_PAIR, found, strict=True):
                sums[f"{name}{ahead}"][z] = value
    return sums


def _kept(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(N,) values of the cells that count, which mostly are all."""
    return values.ravel() if where.all() else values[where]


def _cell_sums(plane: np.ndarray, kind: np.dtype) -> np.ndarray:
    """(Y, X) sum of each cell of a part of a slice that is whole cells."""
    height, width = (n // CELL for n in plane.shape)
    if plane.dtype == np.uint8:
        return _cell_sums_of_bytes(plane)
    if plane.dtype.kind not in "iu" or plane.dtype.itemsize > 2:
        return plane.reshape(height, CELL, width, CELL).sum((1, 3), dtype=kind)
    rows = plane.reshape(height, CELL, width * CELL)
    total: np.ndarray = rows[:, 0].astype(np.int32)
    for row in range(1, CELL):
        total += rows[:, row]
    wide = total.reshape(height, width, CELL).astype(np.float64)
    return (wide @ np.ones(CELL)).astype(kind)  # whole numbers, far below 2^53


def _cell_sums_of_bytes(plane: np.ndarray) -> np.ndarray:
    """The same of uint8: neighbours are added up as the parts of larger numbers, whose order is no matter."""
    height, width = (n // CELL for n in plane.shape)
    cells = np.empty((height, width), np.int64)
    strip = max(1, _STRIP // max(1, plane.shape[1]) // CELL)
    for first in range(0, height, strip):
        pairs = np.ascontiguousarray(plane[first * CELL : (first + strip) * CELL]).view(np.uint16)
        sums = pairs & np.uint16(255)
        sums += pairs >> np.uint16(8)
        for _ in range(3):  # 2, 4, 8 rows
            sums = sums[0::2] + sums[1::2]
        fours = sums.view(np.uint64) * np.uint64(0x0001_0001_0001_0001)  # its highest part is the sum of all four
        cells[first : first + strip] = fours >> np.uint64(48)
    return cells


def _squared_steps(plane: np.ndarray, kind: np.dtype) -> Any:
    """Sum of the squared differences of neighbours along x."""
    if plane.shape[1] < 2:
        return 0
    if plane.dtype.kind not in "iu" or plane.dtype.itemsize > 2:
        step = np.diff(plane.astype(kind), axis=1).ravel()
        return step @ step
    rows = max(1, min(len(plane), _STRIP // plane.shape[1]))
    strips = (np.ascontiguousarray(plane[first : first + rows]) for first in range(0, len(plane), rows))
    steps = (_steps_of_bytes if plane.dtype == np.uint8 else _steps_of_words)(rows * plane.shape[1])
    return sum(map(steps, strips))


def _steps_of_words(size: int) -> Callable[[np.ndarray], int]:
    """The same of some rows of 8 or 16 bits: squares below 2^32, of which float64 adds up far more than ``size`` exactly."""
    floats, differences = np.empty((2, size), np.float64)  # taken once: the system takes long to clear memory

    def steps(strip: np.ndarray) -> int:
        pixels, found = floats[: strip.size], differences[: strip.size - 1]
        np.copyto(pixels, strip.reshape(-1))
        np.subtract(pixels[1:], pixels[:-1], out=found)
        found[strip.shape[1] - 1 :: strip.shape[1]] = 0  # from the end of a row to the next one
        return int(found @ found)

    return steps


def _steps_of_bytes(size: int) -> Callable[[np.ndarray], int]:
    """The same of some rows of uint8, at most ``size`` pixels."""
    larger, smaller = np.zeros((2, -(-size // _EXACT) * _EXACT), np.uint8)
    floats = np.empty(larger.size, np.float32)

    def steps(strip: np.ndarray) -> int:
        pixels, n = strip.reshape(-1), strip.size - 1
        np.maximum(pixels[1:], pixels[:-1], out=larger[:n])
        np.minimum(pixels[1:], pixels[:-1], out=smaller[:n])
        np.subtract(larger[:n], smaller[:n], out=larger[:n])
        larger[strip.shape[1] - 1 : n : strip.shape[1]] = 0  # from the end of a row to the next one
        larger[n:] = 0
        np.copyto(floats, larger)
        parts = floats.reshape(-1, _EXACT)
        return int((parts[:, None] @ parts[:, :, None]).sum(dtype=np.float64))

    return steps


def likeness(sums: Sums, ahead: int) -> np.ndarray:
    """(Z,) correlation coefficient of each slice with a later one, -1..1; NaN where they have no tissue in common.

    Parameters
    ----------
    sums : dict
        From :func:`slice_sums`, of whole slices.
    ahead : int
        1 for the next slice, 2 for the one after it.
    """
    n, a, b, aa, bb, ab = (sums[f"{name}{ahead}"].astype(float) for name in _PAIR)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (ab - a * b / n) / np.sqrt((aa - a * a / n) * (bb - b * b / n))
    return np.where(np.isfinite(found), found, np.nan)
