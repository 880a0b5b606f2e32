"""Volumes as MRC files, written slice by slice. Specification: https://www.ccpem.ac.uk/mrc_format/mrc2014.php"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mitoscale.core.geometry import Spacing, Triple

_ANGSTROM = 10.0  # in a nm
_VOLUME = 1  # space group of a single volume


def write_mrc(path: str, planes: Iterator[np.ndarray], shape: Triple, dtype: np.dtype, spacing: Spacing, origin: Spacing) -> None:
    """Write one volume; the header's statistics are those of all voxels.

    Parameters
    ----------
    path : str
        The file.
    planes : iterator of (Y, X) array
        The slices, of ``dtype``.
    shape : (z, y, x)
        Of all.
    dtype : dtype
        int16 (mode 1) or uint16 (mode 6).
    spacing : (z, y, x)
        Voxel size in nm.
    origin : (z, y, x)
        Where the first voxel lies, in nm.
    """
    header = _header(path, dtype, shape, spacing, origin)
    low, high, total, squares = math.inf, -math.inf, 0.0, 0.0
    with open(path, "wb") as file:
        file.write(header.tobytes())
        for plane in planes:
            file.write(np.ascontiguousarray(plane, dtype.newbyteorder("<")).data)
            low, high = min(low, float(plane.min())), max(high, float(plane.max()))
            total += float(plane.sum(dtype=np.float64))
            squares += float(np.square(plane, dtype=np.float64).sum())
        voxels = math.prod(shape)
        mean = total / voxels
        header.dmin, header.dmax, header.dmean = low, high, mean
        header.rms = math.sqrt(max(squares / voxels - mean * mean, 0.0))
        file.seek(0, io.SEEK_SET)
        file.write(header.tobytes())


def _header(path: str, dtype: np.dtype, shape: Triple, spacing: Spacing, origin: Spacing) -> Any:
    """The header of a file of one voxel, as mrcfile writes it, with the numbers of this volume."""
    import mrcfile

    with mrcfile.new(path, np.zeros((1, 1, 1), dtype)) as one:
        one.add_label("labels of mitochondria, written by mitoscale")
        header = one.header.copy()
    for axis, length, size, place in zip("zyx", shape, spacing, origin, strict=True):
        header[f"n{axis}"] = header[f"m{axis}"] = length
        header.cella[axis] = length * size * _ANGSTROM
        header.origin[axis] = place * _ANGSTROM
    header.ispg = _VOLUME
    return header
