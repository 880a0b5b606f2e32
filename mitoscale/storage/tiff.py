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
from mitoscale.storage.png import examine_png, read_png
from mitoscale.storage.slice_names import find_slices
from mitoscale.storage.tiff_pages import Page, examine, read_rows

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")
"""What grey values may be; bilevel pixels are read as uint8."""
LABEL_DTYPES = (*DTYPES, "uint32", "int32", "uint64", "int64", "float16", "float64")
"""What labels may be, and the probabilities that a threshold makes a mask of."""

_PROBED_BYTES = 65_536
_KEPT_FILES = 128


@dataclass(frozen=True)
class _File:
    """What is known of one file without its pixels."""

    path: str
    shape: Triple
    dtype: str
    spacing: Spacing | None
    pages: tuple[Page, ...]  # none for PNG

    def read(self, z: int, rows: slice, columns: slice) -> np.ndarray:
        """(Y, X) of one slice."""
        if not self.pages:
            return read_png(self.path, rows, columns)
        return read_rows(self.path, self.pages[z], rows, columns)


@dataclass(frozen=True)
class TiffSource:
    """A stack that was checked; cheap to pickle. Get one from :func:`open_tiff`."""

    paths: tuple[str, ...]
    """Absolute path of each slice, or of the one file with all of them."""
    shape: Triple
    """(z, y, x) in voxels."""
    dtype: str
    """NumPy name, one of :data:`DTYPES`, or of :data:`LABEL_DTYPES` for labels."""
    spacing: Spacing | None
    """Voxel size (z, y, x) in nm, or None where the files do not tell all of it."""
    fingerprint: str
    """Digest of names, sizes, and the beginning of the first and last file, 64 hex digits."""

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region; only the slices, strips and tiles that it meets are read.

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
        z, rows, columns = region.slices
        result = np.empty(region.shape, self.dtype)
        if not result.size:
            return result
        for target, number in zip(result, range(z.start, z.stop), strict=True):
            path, page = self._place(number)
            target[:] = self._file(path).read(page, rows, columns)
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
            try:
                plane = self.read(Region(start=(z, 0, 0), stop=(z + 1, *self.shape[1:])))
            except BlockError as error:
                raise InputError(str(error)) from error
            bad = plane.size - int(np.count_nonzero(np.isfinite(plane)))
            if bad:
                where = self.paths[z] if len(self.paths) > 1 else f"{self.paths[0]}, slice {z},"
                raise InputError(f"{where} has {bad} values that are not finite; replace them by a grey value")
            low, high = min(low, float(plane.min())), max(high, float(plane.max()))
        return low, high

    def _place(self, z: int) -> tuple[str, int]:
        """File of a slice, and its page there."""
        return (self.paths[0], z) if len(self.paths) == 1 else (self.paths[z], 0)

    def _file(self, path: str) -> _File:
        """The file, where it still is what was checked."""
        try:
            status = os.stat(path)
            file = _kept(path, status.st_size, status.st_mtime_ns)
        except (OSError, InputError) as error:
            raise BlockError(f"{path} cannot be read any more, or not any more as it was: {error}") from error
        expected = (self.shape[0] if len(self.paths) == 1 else 1, *self.shape[1:])
        if (file.shape, file.dtype) != (expected, self.dtype):
            raise BlockError(f"{path} has changed: it was {expected} {self.dtype} and is {file.shape} {file.dtype}; restore it")
        return file


def open_tiff(source: str, *, labels: bool = False) -> TiffSource:
    """Open a stack and check everything but its pixels.

    Parameters
    ----------
    source : str
        A TIFF file with one or more pages, a folder of slices (.tif, .tiff, .png), or a glob.
    labels : bool
        Accept 32 and 64-bit integers, and all floats, too.

    Raises
    ------
    InputError
        If there is no file; one is no TIFF or PNG, cut off, not grey, or of a dtype that is not read; if slices or
        pages differ in shape or dtype; or a number of the series is missing or there twice.
    """
    paths = find_slices(source)
    first = _opened(paths[0])
    for path in paths:
        file = first if path == paths[0] else _opened(path)
        if len(paths) > 1 and file.shape[0] > 1:
            raise InputError(
                f"{path} holds {file.shape[0]} slices among {len(paths)} files; give it alone, or a folder with one slice a file"
            )
        _check_alike(first.path, (first.shape[1:], first.dtype), path, (file.shape[1:], file.dtype))
    wanted = LABEL_DTYPES if labels else DTYPES
    if first.dtype not in wanted:
        raise InputError(f"{first.path} holds {first.dtype}; convert it to one of {', '.join(wanted)}")
    return TiffSource(
        paths=paths,
        shape=(len(paths), *first.shape[1:]) if len(paths) > 1 else first.shape,
        dtype=first.dtype,
        spacing=first.spacing,
        fingerprint=_fingerprint(paths),
    )


def _opened(path: str) -> _File:
    try:
        if path.lower().endswith(".png"):
            shape, dtype = examine_png(path)
            return _File(path=path, shape=(1, *shape), dtype=dtype, spacing=None, pages=())
        found = examine(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; correct its permissions or path") from error
    first = found.pages[0]
    for number, page in enumerate(found.pages):
        there = (f"{path}, page 0", (first.shape, first.dtype))
        _check_alike(*there, f"page {number}", (page.shape, page.dtype))
    dtype = "uint8" if first.dtype == "bool" else first.dtype
    shape3 = (len(found.pages), *first.shape)
    return _File(path=path, shape=shape3, dtype=dtype, spacing=found.spacing, pages=found.pages)


@lru_cache(maxsize=_KEPT_FILES)
def _kept(path: str, size: int, modified: int) -> _File:
    """A file's headers, kept between blocks; size and time tell it from a later file of the same name."""
    return _opened(path)


def _check_alike(first: str, wanted: tuple[tuple[int, int], str], other: str, found: tuple[tuple[int, int], str]) -> None:
    for what, a, b in zip(("shape", "dtype"), wanted, found, strict=True):
        if a != b:
            raise InputError(f"slices differ in {what}: {first} has {a} and {other} has {b}; export them all alike")


def _fingerprint(paths: Sequence[str]) -> str:
    """Digest of what a changed stack hardly keeps; reading terabytes for it would cost as much as converting them."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{os.path.basename(path)} {os.path.getsize(path)}\n".encode())
    for path in (paths[0], paths[-1]):
        with open(path, "rb") as file:
            digest.update(file.read(_PROBED_BYTES))
    return digest.hexdigest()
