"""TIFF volumes (and PNG slices): one multi-page file, a folder of slices, or a glob."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.source_choices import Reading
from mitoscale.storage.jpeg import examine_jpeg, read_jpeg
from mitoscale.storage.png import examine_png, read_png
from mitoscale.storage.slice_names import find_slices
from mitoscale.storage.sources import fingerprint
from mitoscale.storage.sources.reader import PartialSpacing, check_within
from mitoscale.storage.sources.voxel_size import UNKNOWN
from mitoscale.storage.tiff_pages import Page, examine, read_rows

_KEPT_FILES = 128
_THREADS = 4
"""Slices of a region that are read at once."""


@dataclass(frozen=True)
class _File:
    """What is known of one file without its pixels."""

    path: str
    shape: Triple
    dtype: str
    spacing: PartialSpacing
    pages: tuple[Page, ...]  # none for PNG

    def read(self, z: int, rows: slice, columns: slice, as_stored: bool) -> np.ndarray:
        """(Y, X) of one slice."""
        if not self.pages:
            return (read_png if self.path.lower().endswith(".png") else read_jpeg)(self.path, rows, columns)
        return read_rows(self.pages[z], rows, columns, as_stored)


@dataclass(frozen=True)
class TiffSource:
    """A stack that was checked; cheap to pickle. Get one from :func:`open_tiff`."""

    path: str
    """The file, folder or glob."""
    paths: tuple[str, ...]
    """Absolute path of each slice, or of the one file with all of them; empty for a slice that is missing."""
    shape: Triple
    """(z, y, x) in voxels."""
    dtype: str
    """NumPy name; bilevel pixels are read as uint8."""
    spacing: PartialSpacing
    """Voxel size (z, y, x) in nm, where the files tell it."""
    reading: Reading
    """Which series, channel and time."""
    as_stored: bool = False
    """Values are not turned round where the files say that small ones are bright: labels are numbers."""
    hint: str = ""
    """Nothing is half told."""
    origin: Spacing = (0.0, 0.0, 0.0)
    """Not told by TIFF."""
    chunks: Triple | None = None
    """Rows are read."""

    @property
    def fingerprint(self) -> str:
        """Digest of names, sizes and content, 64 hex digits; see :mod:`mitoscale.storage.sources.fingerprint`."""
        return fingerprint.of_files([path for path in self.paths if path])

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the slices that are not there, from 0; they read as the least value of the dtype."""
        return tuple(z for z, path in enumerate(self.paths) if not path)

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
        check_within(region, self.shape)
        z, rows, columns = region.slices
        result = np.empty(region.shape, self.dtype)
        if not result.size:
            return result

        def read(number: int) -> None:
            path, page = self._place(number)
            target = result[number - z.start]
            target[:] = self._file(path).read(page, rows, columns, self.as_stored) if path else _least(self.dtype)

        read(z.start)  # by itself: the headers of a file with all slices are read once
        with ThreadPoolExecutor(_THREADS) as threads:  # disks and decoders work beside each other
            for _ in threads.map(read, range(z.start + 1, z.stop)):
                pass
        return result

    def _place(self, z: int) -> tuple[str, int]:
        """File of a slice, and its page there."""
        return (self.paths[0], z) if len(self.paths) == 1 else (self.paths[z], 0)

    def _file(self, path: str) -> _File:
        """The file, where it still is what was checked."""
        try:
            status = os.stat(path)
            file = _kept(path, status.st_size, status.st_mtime_ns, self.reading)
        except (OSError, InputError) as error:
            raise BlockError(f"{path} cannot be read any more, or not any more as it was: {error}") from error
        expected = (self.shape[0] if len(self.paths) == 1 else 1, *self.shape[1:])
        if (file.shape, file.dtype) != (expected, self.dtype):
            raise BlockError(f"{path} has changed: it was {expected} {self.dtype} and is {file.shape} {file.dtype}; restore it")
        return file


def open_tiff(source: str, reading: Reading | None = None) -> TiffSource:
    """Open a stack and check everything but its pixels, and whether its dtype will do.

    Parameters
    ----------
    source : str
        A TIFF file with one or more pages, a folder of slices (.tif, .tiff, .png, .jpg), or a glob.
    reading : Reading, optional
        Which series, channel and time, and whether slices may be missing.

    Raises
    ------
    InputError
        If there is no file; one is no TIFF or PNG, cut off, or not grey; if slices or
        pages differ in shape or dtype; or a number of the series is missing or there twice.
    """
    reading = reading or Reading()
    paths = find_slices(source, reading.channel, reading.fill_gaps)
    first = _opened(paths[0], reading)
    if len(paths) > 1 and {page.path for page in first.pages} == set(paths):
        paths = paths[:1]  # files of one set, whose order the first one tells
    for path in filter(None, paths):
        file = first if path == paths[0] else _opened(path, reading)
        if len(paths) > 1 and file.shape[0] > 1:
            raise InputError(
                f"{path} holds {file.shape[0]} slices among {len(paths)} files; give it alone, or a folder with one slice a file"
            )
        _check_alike(first.path, (first.shape[1:], first.dtype), path, (file.shape[1:], file.dtype))
    return TiffSource(
        path=os.path.abspath(os.path.expanduser(source)),
        paths=paths,
        shape=(len(paths), *first.shape[1:]) if len(paths) > 1 else first.shape,
        dtype=first.dtype,
        spacing=first.spacing,
        reading=reading,
    )


def _opened(path: str, reading: Reading) -> _File:
    try:
        if path.lower().endswith((".png", ".jpg", ".jpeg")):
            shape, dtype = examine_png(path) if path.lower().endswith(".png") else examine_jpeg(path)
            return _File(path=path, shape=(1, *shape), dtype=dtype, spacing=UNKNOWN, pages=())
        found = examine(path, reading)
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
def _kept(path: str, size: int, modified: int, reading: Reading) -> _File:
    """A file's headers, kept between blocks; size and time tell it from a later file of the same name."""
    return _opened(path, reading)


def _least(dtype: str) -> float:
    return 0 if dtype.startswith("float") else int(np.iinfo(dtype).min)


def _check_alike(first: str, wanted: tuple[tuple[int, int], str], other: str, found: tuple[tuple[int, int], str]) -> None:
    for what, a, b in zip(("shape", "dtype"), wanted, found, strict=True):
        if a != b:
            raise InputError(f"slices differ in {what}: {first} has {a} and {other} has {b}; export them all alike")
