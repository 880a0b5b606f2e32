"""TIFF volumes (and PNG slices): one multi-page file, a folder of slices, or a glob."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.storage.png import PngSlice, open_png
from mitoscale.storage.slices import find_slices
from mitoscale.storage.tiff_checks import check_tiff
from mitoscale.storage.tiff_file import TiffFile

_PROBED_BYTES = 65_536
_OPEN_FILES = 128


@dataclass(frozen=True)
class TiffSource:
    """A stack that was checked; cheap to pickle. Get one from :func:`open_tiff`."""

    paths: tuple[str, ...]
    """Absolute path of each slice, or of the one file with all of them."""
    shape: Triple
    """(z, y, x) in voxels."""
    dtype: str
    """NumPy name: uint8, int8, uint16, int16 or float32."""
    spacing: Spacing | None
    """Voxel size (z, y, x) in nm, or None where the files do not tell all of it."""
    fingerprint: str
    """Digest of names, sizes, and the first and last file's ends, 64 hex digits."""

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region; only the pages, strips and tiles that it meets are read.

        Parameters
        ----------
        region : Region
            Within the shape.

        Returns
        -------
        (Z, Y, X) ndarray
            Of ``dtype``, in this machine's byte order.

        Raises
        ------
        ValueError
            If the region leaves the volume.
        BlockError
            If a file is broken, or has changed or gone since it was opened.
        """
        if any(a < 0 or b > n for a, b, n in zip(region.start, region.stop, self.shape, strict=True)):
            raise ValueError(f"region {region} leaves the volume of shape {self.shape}")
        z, y, x = region.slices
        if len(self.paths) == 1:
            return self._file(self.paths[0]).read(z, y, x)
        result = np.empty(region.shape, self.dtype)
        for target, path in zip(result, self.paths[z], strict=True):
            target[:] = self._file(path).read(slice(0, 1), y, x)[0]
        return result

    def value_range(self) -> tuple[float, float]:
        """Least and largest value of the whole volume, read slice by slice.

        Raises
        ------
        InputError
            If a slice holds NaN or infinite values, or cannot be read.
        """
        low, high = math.inf, -math.inf
        for z in range(self.shape[0]):
            where = f"slice {z} of {self.paths[0] if len(self.paths) == 1 else self.paths[z]}"
            try:
                plane = self.read(Region(start=(z, 0, 0), stop=(z + 1, *self.shape[1:])))
            except BlockError as error:
                raise InputError(f"{where} cannot be read: {error}") from error
            if plane.dtype.kind == "f":
                bad = plane.size - int(np.count_nonzero(np.isfinite(plane)))
                if bad:
                    raise InputError(f"{where} holds {bad} NaN or infinite voxels; replace them by a grey value")
            low, high = min(low, float(plane.min())), max(high, float(plane.max()))
        return low, high

    def _file(self, path: str) -> TiffFile | PngSlice:
        """The file, if it is still what was checked."""
        try:
            status = os.stat(path)
            file = _reopened(path, status.st_size, status.st_mtime_ns)
        except (OSError, InputError) as error:
            raise BlockError(f"source {path} has changed or gone since it was checked: {error}") from error
        expected = self.shape if len(self.paths) == 1 else (1, *self.shape[1:])
        if (file.shape, file.dtype) != (expected, self.dtype):
            raise BlockError(f"source {path} has changed: it is {_said(file)}, it was {expected} {self.dtype}")
        return file


def open_tiff(source: str) -> TiffSource:
    """Open a stack and check everything but its pixels.

    Parameters
    ----------
    source : str
        A TIFF file with one or more pages, a folder of slices (.tif, .tiff, .png), or a glob.

    Raises
    ------
    InputError
        If there is no file; one is no TIFF or PNG, truncated, not grey, or of a dtype that is not read; if slices
        or pages differ in shape or dtype; or a number of the series is missing or there twice.
    """
    paths = find_slices(source)
    first = _open(paths[0])
    for path in paths[1:]:
        slice_ = _open(path)
        if slice_.shape[0] != 1 or first.shape[0] != 1:
            many = slice_ if slice_.shape[0] != 1 else first
            raise InputError(
                f"{many.path} has {many.shape[0]} pages, but it is one of {len(paths)} files; "
                "give it alone, or a folder with one slice a file"
            )
        if (slice_.shape, slice_.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"slices differ: {first.path} is {_said(first)}, {path} is {_said(slice_)}; "
                "make all alike, or give a glob that leaves the odd one out"
            )
    return TiffSource(
        paths=tuple(paths),
        shape=(first.shape[0] if len(paths) == 1 else len(paths), *first.shape[1:]),
        dtype=first.dtype,
        spacing=first.spacing,
        fingerprint=_fingerprint(paths),
    )


def _open(path: str) -> TiffFile | PngSlice:
    return open_png(path) if path.lower().endswith(".png") else check_tiff(path)


@lru_cache(maxsize=_OPEN_FILES)
def _reopened(path: str, size: int, modified: int) -> TiffFile | PngSlice:
    """The file's metadata, kept between blocks; size and time tell it from a later file of the same name."""
    return _open(path)


def _said(file: TiffFile | PngSlice) -> str:
    return f"{'x'.join(map(str, file.shape[1:]))} {file.dtype}"


def _fingerprint(paths: Sequence[str]) -> str:
    """Digest of what a changed stack hardly keeps; reading terabytes for it would cost as much as converting them."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{os.path.basename(path)} {os.path.getsize(path)}\n".encode())
    for path in (paths[0], paths[-1]):
        with open(path, "rb") as file:
            digest.update(file.read(_PROBED_BYTES))
            file.seek(max(0, os.path.getsize(path) - _PROBED_BYTES))
            digest.update(file.read())
    return digest.hexdigest()
