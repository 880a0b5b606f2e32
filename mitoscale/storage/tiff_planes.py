"""Volumes as TIFF, written slice by slice so that they never lie in memory whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile

from mitoscale.core.geometry import Spacing, Triple


def write_stack(path: str, planes: Iterator[np.ndarray], shape: Triple, dtype: np.dtype, spacing: Spacing, *, ome: bool) -> None:
    """Write one multi-page TIFF, a BigTIFF where it needs to be.

    Parameters
    ----------
    path : str
        The file.
    planes : iterator of (Y, X) array
        The slices, of ``dtype``.
    shape : (z, y, x)
        Of all.
    dtype : dtype
        Of the file.
    spacing : (z, y, x)
        Voxel size in nm.
    ome : bool
        Whether it gets OME metadata.
    """
    z, y, x = shape
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", spacing, strict=True)}
    metadata = {"axes": "ZYX", **sizes, **{f"PhysicalSize{axis}Unit": "nm" for axis in "ZYX"}} if ome else None
    with tifffile.TiffWriter(path, bigtiff=z * y * x * dtype.itemsize > 2**31, ome=ome) as writer:
        writer.write(planes, shape=shape, dtype=dtype, metadata=metadata, **_options(spacing))


def write_slices(folder: str, planes: Iterator[np.ndarray], spacing: Spacing) -> None:
    """Write a folder of TIFF slices ``000000.tif``, ``000001.tif`` ...

    Parameters
    ----------
    folder : str
        Is made.
    planes : iterator of (Y, X) array
        The slices.
    spacing : (z, y, x)
        Voxel size in nm.
    """
    os.mkdir(folder)
    for z, plane in enumerate(planes):
        tifffile.imwrite(os.path.join(folder, f"{z:06d}.tif"), plane, **_options(spacing))


def _options(spacing: Spacing) -> dict[str, Any]:
    resolution = {"resolution": (1e7 / spacing[2], 1e7 / spacing[1]), "resolutionunit": "CENTIMETER"}
    return {"compression": "zlib", "photometric": "minisblack", **resolution}
