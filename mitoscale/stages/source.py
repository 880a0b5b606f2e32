"""What a run reads: TIFF slices, or an OME-Zarr where it lies."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing, Triple
from mitoscale.storage.ome import is_ome_zarr, open_image
from mitoscale.storage.tiff import open_tiff

_ANSWER = "--voxel-size Z,Y,X in nm, for example --voxel-size 5,5,5"
_SPACING_NM = (0.01, 1e6)
"""What a voxel may measure."""
_ANISOTROPY = 1000.0
"""How many times longer than wide it may be."""
_DTYPES = ("uint8", "int8", "uint16", "int16", "float32")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source that was opened and found fit."""

    path: str
    """Absolute path."""
    shape: Triple
    """Shape (z, y, x) in voxels."""
    dtype: str
    """NumPy name."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    fingerprint: str
    """Digest of its files."""
    level0: str | None
    """The Zarr array with level 0; None for TIFF."""


def open_source(path: str, voxel_size: Spacing | None) -> Source:
    """Open a source and check all of it that can be checked without reading every voxel (floats are read for NaN).

    Parameters
    ----------
    path : str
        A TIFF file, a folder or glob of slices, or an OME-Zarr.
    voxel_size : (z, y, x), optional
        In nm; wins over what the files say.

    Raises
    ------
    InputError
        If anything is wrong with it, or nobody tells the voxel size.
    """
    if path.startswith("s3://"):
        raise InputError(f"source {path}: reading from S3 is not done yet; give a local path")
    if is_ome_zarr(path):
        image = open_image(path, spacing=voxel_size)
        _check_dtype(image.spec.dtype, path)
        _check_spacing(image.spec.spacing, path)
        return Source(
            path=os.path.abspath(path),
            shape=image.spec.shape,
            dtype=image.spec.dtype,
            spacing=image.spec.spacing,
            fingerprint=image.fingerprint,
            level0=image.level_paths[0],
        )
    tiff = open_tiff(path)
    spacing = voxel_size or tiff.spacing
    if spacing is None:
        raise InputError(f"source {path} does not tell its voxel size; give it as {_ANSWER}")
    _check_spacing(spacing, path)
    if tiff.dtype.startswith("float"):
        tiff.value_range()  # raises where a value is not finite
    return Source(
        path=os.path.abspath(path),
        shape=tiff.shape,
        dtype=tiff.dtype,
        spacing=spacing,
        fingerprint=tiff.fingerprint,
        level0=None,
    )


def _check_spacing(spacing: Spacing, path: str) -> None:
    low, high = _SPACING_NM
    if not all(low <= s <= high for s in spacing) or max(spacing) > _ANISOTROPY * min(spacing):
        size = " x ".join(f"{s:g}" for s in spacing)
        raise InputError(
            f"source {path}: a voxel of {size} nm (z, y, x) is not between {low:g} and {high:g} nm, or more than {_ANISOTROPY:g} "
            f"times longer than wide; give the right one as {_ANSWER}"
        )


def _check_dtype(dtype: str, path: str) -> None:
    if dtype not in _DTYPES[:-1]:
        raise InputError(f"source {path} has dtype {dtype}; an OME-Zarr is read in place as one of {', '.join(_DTYPES[:-1])}")
