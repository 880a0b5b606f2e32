"""The slices of one TIFF file: where their bytes lie, checked against the file's size, and how to read part of one."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tifffile

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources.reader import PartialSpacing
from mitoscale.storage.tiff_directories import count_directories
from mitoscale.storage.tiff_metadata import promised_slices, stored_spacing
from mitoscale.storage.tiff_series import ome_pages

_NO_SLICE = 1 | 4
"""Bits of the subfile type: a smaller copy, a mask."""


@dataclass(frozen=True)
class Page:
    """One slice: the segments (strips or tiles) it is stored in."""

    shape: tuple[int, int]
    """(y, x) in pixels."""
    dtype: str
    """NumPy name."""
    segment: tuple[int, int]
    """Shape (y, x) of a segment."""
    offsets: tuple[int, ...]
    """First byte of each segment, row by row."""
    counts: tuple[int, ...]
    """Bytes of each segment."""
    plain: str | None
    """Where the pixels are one uncompressed run of bytes: their NumPy dtype with its byte order."""
    decode: Callable[..., Any]
    """tifffile's decoder of one segment."""
    path: str
    """The file that it is in."""
    white_is_zero: bool = False
    """Whether small values are bright, as the file says."""
    jpeg_tables: bytes | None = None
    """Of JPEG segments that share them."""


@dataclass(frozen=True)
class TiffPages:
    """An examined TIFF file."""

    path: str
    """Absolute path."""
    pages: tuple[Page, ...]
    """Its slices."""
    spacing: PartialSpacing
    """Voxel size (z, y, x) in nm where the metadata have it."""


def examine(path: str, reading: Reading) -> TiffPages:
    """Read the headers of all slices and check that their bytes are there.

    Parameters
    ----------
    path : str
        The file.
    reading : Reading
        Which series, channel and time of an OME-TIFF.

    Raises
    ------
    InputError
        If the file is not a TIFF, is cut off or damaged, or holds colours, channels or times.
    """
    size = os.path.getsize(path)
    directories = count_directories(path, size)
    try:
        with tifffile.TiffFile(path) as tif:
            tif.pages.useframes = False  # frames would be taken to look like the first page
            listed: list[Any] = list(tif.pages)
            stack = ome_pages(tif, path, reading) if tif.is_ome else None
            promised, spacing = None if stack else promised_slices(tif, path), stored_spacing(tif)
            # thumbnails and masks are no slices
            wanted = stack or [page for page in listed if not page.subfiletype & _NO_SLICE] or listed
            pages = [part for n, page in enumerate(wanted) for part in _pages(page.aspage(), path, n)]
    except InputError:
        raise
    except Exception as error:  # tifffile raises nearly anything on damaged headers
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); copy or export it again") from error
    if len(listed) != directories:
        raise InputError(f"{path} is damaged: only {len(listed)} of {directories} slices can be read; copy it again")
    if promised and promised > len(pages) == 1 and pages[0].plain:
        pages = _unroll(pages[0], promised)
    if promised and promised > len(pages):
        raise InputError(f"{path} is cut off: it says {promised} slices and has {len(pages)}; copy or export it again")
    _check_bytes(pages)
    return TiffPages(path=path, pages=tuple(pages), spacing=spacing)


def read_rows(page: Page, rows: slice, columns: slice, as_stored: bool = False) -> np.ndarray:
    """Part of a slice; only the strips, tiles or rows that meet it are read.

    Parameters
    ----------
    page : Page
        The slice.
    rows, columns : slice
        Which.
    as_stored : bool
        Do not turn values round where small ones are bright: labels are numbers and not grey values.

    Returns
    -------
    (Y, X) ndarray
        Of the page's dtype.

    Raises
    ------
    BlockError
        If the bytes cannot be read or decoded.
    """
    values = _read_rows(page, rows, columns)
    if not page.white_is_zero or as_stored:
        return values
    return -values if values.dtype.kind == "f" else ~values


def _read_rows(page: Page, rows: slice, columns: slice) -> np.ndarray:
    path = page.path
    try:
        with open(path, "rb") as file:
            if page.plain is not None:
                dtype = np.dtype(page.plain)
                width = page.shape[1]
                file.seek(page.offsets[0] + rows.start * width * dtype.itemsize)
                data = np.fromfile(file, dtype, (rows.stop - rows.start) * width)
                return data.reshape(-1, width)[:, columns].astype(page.dtype, copy=False)
            return _decode_rows(file, page, rows, columns)
    except Exception as error:  # decoders of a dozen codecs raise nearly anything on damaged bytes
        raise BlockError(f"cannot decode {path}: {type(error).__name__}: {error}") from error


def _decode_rows(file: Any, page: Page, rows: slice, columns: slice) -> np.ndarray:
    result = np.empty((rows.stop - rows.start, columns.stop - columns.start), page.dtype)
    height, width = page.segment
    across = -(-page.shape[1] // width)
    for i in range(rows.start // height, -(-rows.stop // height)):
        for j in range(columns.start // width, -(-columns.stop // width)):
            index = i * across + j
            file.seek(page.offsets[index])
            segment = page.decode(file.read(page.counts[index]), index, jpegtables=page.jpeg_tables)[0][0, :, :, 0]
            top, left = max(rows.start, i * height), max(columns.start, j * width)
            part = segment[top - i * height : rows.stop - i * height, left - j * width : columns.stop - j * width]
            part = part[: page.shape[0] - top, : page.shape[1] - left]
            y, x = top - rows.start, left - columns.start
            expected = (
                min(rows.stop, (i + 1) * height, page.shape[0]) - top,
                min(columns.stop, (j + 1) * width, page.shape[1]) - left,
            )
            if part.shape != expected:
                raise ValueError(f"segment {index} holds {segment.shape} pixels, too few")
            result[y : y + part.shape[0], x : x + part.shape[1]] = part
    return result


def _pages(page: Any, path: str, number: int) -> list[Page]:
    """The slices of a page: one, or as many as samples that were an array's first axis.

    tifffile, and so napari and scikit-image, save an array of three or four slices as one page of as many colours, one after the
    other, and tell the array's shape beside it.
    """
    apart = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.photometric == tifffile.PHOTOMETRIC.RGB
    if apart and page.samplesperpixel in (3, 4) and _saved_shape(page.parent) == page.shape:
        return [_sample(page, path, n) for n in range(page.samplesperpixel)]
    return [_page(page, path, number)]


def _saved_shape(tif: tifffile.TiffFile) -> tuple[int, ...]:
    """The shape of the one array that tifffile says it saved, without leading axes of one; empty where it says nothing."""
    told = [tuple(each.get("shape", ())) for each in tif.shaped_metadata or ()]
    shape = told[0] if len(told) == 1 else ()
    return shape[max(0, len(shape) - 3) :] if all(n == 1 for n in shape[:-3]) else ()


def _sample(page: Any, path: str, sample: int) -> Page:
    """One of the slices that were saved as a page's colours."""
    segments = math.prod(page.chunked) // page.samplesperpixel
    own = slice(sample * segments, (sample + 1) * segments)
    offsets, counts = tuple(page.dataoffsets)[own], tuple(page.databytecounts)[own]
    if len(offsets) != segments or len(counts) != segments:
        raise InputError(f"{path}: {len(offsets)} of {segments} strips or tiles of slice {sample} are listed; copy the file again")

    whole = page.decode  # made while the file is open

    def decode(data: Any, index: int, **tables: Any) -> Any:
        return whole(data, index + own.start, **tables)

    return Page(
        shape=page.shape[1:],
        dtype=str(np.dtype(page.dtype)),
        segment=(page.chunks[-2], page.chunks[-1]),
        offsets=offsets,
        counts=counts,
        plain=None,
        decode=decode,
        path=os.path.join(page.parent.filehandle.dirname, page.parent.filehandle.name),
        jpeg_tables=page.jpegtables,
    )


def _page(page: Any, path: str, number: int) -> Page:
    """The parts of tifffile's page that reading needs; the page itself would hold on to all its tags."""
    where = f"{path}, page {number}"
    if page.samplesperpixel != 1 or page.imagedepth != 1 or len(page.shape) != 2:
        raise InputError(
            f"{where}: {page.samplesperpixel} samples a pixel (colour?); one is needed: convert the stack to 8-bit grey"
        )
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not _grey(page.colormap):
        raise InputError(f"{where}: its colours come from a palette; convert the stack to 8-bit grey")
    if page.dtype is None:
        raise InputError(f"{where}: pixels of {page.bitspersample} bits are not read; convert them to 8 or 16 bits")
    dtype = np.dtype(page.dtype)
    whole = page.bitspersample == 8 * dtype.itemsize and page.compression == 1 and page.predictor == 1
    plain = bool(whole and page.is_contiguous and not page.is_tiled and page.fillorder == 1)
    path, byteorder = os.path.join(page.parent.filehandle.dirname, page.parent.filehandle.name), page.parent.byteorder
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    if len(offsets) != math.prod(page.chunked) or len(counts) != len(offsets):
        raise InputError(f"{where}: {len(offsets)} of {math.prod(page.chunked)} strips or tiles are listed; copy the file again")
    if plain:
        needed = dtype.itemsize * page.shape[0] * page.shape[1]
        if sum(counts) < needed:
            raise InputError(f"{where}: {sum(counts)} of {needed} bytes are listed; copy the file again")
        offsets, counts = offsets[:1], (needed,)
    return Page(
        shape=page.shape,
        dtype=str(dtype),
        segment=(page.chunks[0], page.chunks[1]),
        offsets=offsets,
        counts=counts,
        plain=dtype.newbyteorder(byteorder).str if plain else None,
        decode=page.decode,
        path=path,
        white_is_zero=page.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
        jpeg_tables=page.jpegtables,
    )


def _grey(colormap: np.ndarray | None) -> bool:
    """Whether a palette maps each value to the same grey."""
    if colormap is None or len(colormap) != 3:
        return False
    high = colormap[0] >> 8 if colormap.max() > 255 else colormap[0]
    same = (colormap[0] == colormap[1]).all() and (colormap[0] == colormap[2]).all()
    return bool(same and (high == np.arange(len(high))).all())


def _unroll(page: Page, slices: int) -> list[Page]:
    """One header for all slices, one after the other: what ImageJ writes above 4 GiB."""
    first, count = page.offsets[0], page.counts[0]
    return [replace(page, offsets=(first + n * count,), counts=(count,)) for n in range(slices)]


def _check_bytes(pages: list[Page]) -> None:
    sizes = {path: os.path.getsize(path) for path in {page.path for page in pages}}
    for number, page in enumerate(pages):
        path, size = page.path, sizes[page.path]
        end = max(o + c for o, c in zip(page.offsets, page.counts, strict=True))
        if end > size:
            raise InputError(
                f"{path} is cut off: slice {number} ends at byte {end} and the file at {size}; copy or export it again"
            )
        if 0 in page.counts or 0 in page.offsets:
            raise InputError(f"{path}: slice {number} was never written whole (an empty strip); export it again")
