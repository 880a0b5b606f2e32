"""Labels as TIFF for other programs, written slab by slab so that they never lie in memory whole."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import tifffile

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.storage.arrays import Array
from mitoscale.storage.atomic import replacing

_SLAB_BYTES = 2**28
"""About how much is read at once."""


def export_tiff(labels: Array, path: str, spacing: Spacing) -> None:
    """Write labels as one multi-page TIFF; with OME metadata where the name ends in ``.ome.tif``.

    Parameters
    ----------
    labels : Array
        (Z, Y, X) unsigned; uint16 is written where all labels fit, else uint32.
    path : str
        The file; BigTIFF where it needs to be.
    spacing : (z, y, x)
        Voxel size in nm.

    Raises
    ------
    InputError
        If a label does not fit in 32 bits, which is all that TIFF readers commonly know.
    StoppedError
        If it cannot be written.
    """
    z, y, x = _shape(labels)
    dtype = _smallest(labels)
    ome = path.lower().endswith((".ome.tif", ".ome.tiff"))
    metadata = (
        {"axes": "ZYX", "PhysicalSizeX": spacing[2], "PhysicalSizeY": spacing[1], "PhysicalSizeZ": spacing[0]}
        | {f"PhysicalSize{a}Unit": "nm" for a in "XYZ"}
        if ome
        else None
    )
    with replacing(path) as part, tifffile.TiffWriter(part, bigtiff=z * y * x * dtype.itemsize > 2**31, ome=ome) as writer:
        writer.write(
            (plane.astype(dtype) for plane in _planes(labels)),
            shape=(z, y, x),
            dtype=dtype,
            compression="zlib",
            photometric="minisblack",
            resolution=(1e7 / spacing[2], 1e7 / spacing[1]),
            resolutionunit="CENTIMETER",
            metadata=metadata,
        )


def export_slices(labels: Array, folder: str, spacing: Spacing) -> None:
    """Write labels as a folder of TIFF slices ``000000.tif``, ``000001.tif`` ...; see :func:`export_tiff`.

    Parameters
    ----------
    labels : Array
        (Z, Y, X) labels.
    folder : str
        Must not hold files.
    spacing : (z, y, x)
        Voxel size in nm.

    Raises
    ------
    InputError
        If the folder holds something already.
    """
    if os.path.isdir(folder) and os.listdir(folder):
        raise InputError(f"{folder} holds other files; give a new or empty folder")
    dtype = _smallest(labels)
    for z, plane in enumerate(_planes(labels)):
        with replacing(os.path.join(folder, f"{z:06d}.tif"), durable=False) as part:
            tifffile.imwrite(
                part,
                plane.astype(dtype),
                compression="zlib",
                photometric="minisblack",
                resolution=(1e7 / spacing[2], 1e7 / spacing[1]),
                resolutionunit="CENTIMETER",
            )


def _shape(labels: Array) -> Triple:
    z, y, x = labels.shape
    return z, y, x


def _slabs(labels: Array) -> Iterator[np.ndarray]:
    """(z, Y, X) parts, whole chunks deep where memory allows."""
    depth, height, width = _shape(labels)
    step = max(1, min(labels.chunks[0], _SLAB_BYTES // max(height * width * labels.dtype.itemsize, 1)))
    for z in range(0, depth, step):
        yield labels.read(Region(start=(z, 0, 0), stop=(min(z + step, depth), height, width)))


def _planes(labels: Array) -> Iterator[np.ndarray]:
    for slab in _slabs(labels):
        yield from slab


def _smallest(labels: Array) -> np.dtype:
    """uint16 where all labels fit, else uint32."""
    if labels.dtype.itemsize <= 2:
        return np.dtype(np.uint16)
    highest = max(int(slab.max(initial=0)) for slab in _slabs(labels))
    if highest >= 2**32:
        raise InputError(f"label {highest} does not fit in the 32 bits of a TIFF; use the OME-Zarr {labels.path} itself")
    return np.dtype(np.uint16 if highest < 2**16 else np.uint32)
