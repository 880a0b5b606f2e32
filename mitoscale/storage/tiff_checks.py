"""What is checked of a TIFF before anything is written: tifffile opens truncated and mixed files without a word."""

from __future__ import annotations

import json
import logging
import math
import os
import struct
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import tifffile

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing
from mitoscale.storage.tiff_file import TiffFile
from mitoscale.storage.voxel_size import from_imagej, from_ome

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")
"""What is read; bilevel is read as uint8."""

logging.getLogger("tifffile").addHandler(
    logging.NullHandler()
)  # our error says it in one line; no second one on stderr


def check_tiff(path: str) -> TiffFile:
    """Open a TIFF and check all of it but its pixels.

    Parameters
    ----------
    path : str
        A file.

    Raises
    ------
    InputError
        If it is no TIFF, truncated, not grey, of a dtype that is not read, or its pages differ.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            count = _count_pages(tiff, path)
            pages = tuple(tiff.pages[i].aspage() for i in range(count))
            return _check(tiff, path, pages)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except tifffile.TiffFileError as error:
        raise InputError(f"{path} is not a TIFF, or a damaged one ({error}); convert or restore it") from error
    except (ValueError, KeyError, IndexError, TypeError, RuntimeError, ArithmeticError, struct.error) as error:
        raise InputError(f"{path} is a damaged TIFF ({type(error).__name__}: {error}); restore it") from error


def _check(tiff: tifffile.TiffFile, path: str, pages: tuple[tifffile.TiffPage, ...]) -> TiffFile:
    first, size = pages[0], os.path.getsize(path)
    for number, page in enumerate(pages):
        _check_page(page, f"page {number} of {path}")
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise InputError(f"pages of {path} differ: {_said(0, first)}, {_said(number, page)}; give one stack alone")
    slices = _check_count(tiff, path, len(pages))
    if slices > len(pages):
        end = first.dataoffsets[0] + slices * first.nbytes
        if not first.is_memmappable or end > size:
            raise InputError(
                f"{path} is truncated: its metadata tell of {slices} slices, {end} bytes, "
                f"the file has {size}; copy it again"
            )
    else:
        for number, page in enumerate(pages):
            _check_segments(page, f"page {number} of {path}", size)
    dtype = "uint8" if first.dtype == bool else first.dtype.name
    y, x = first.shape
    return TiffFile(path=path, shape=(slices, y, x), dtype=dtype, spacing=_spacing(tiff), pages=pages)


def _count_pages(tiff: tifffile.TiffFile, path: str) -> int:
    """Number of pages, by following their chain: a chain that leaves the file is a truncated file."""
    file, form = tiff.filehandle, tiff.tiff
    file.seek(8 if form.is_bigtiff else 4)
    seen: set[int] = set()
    try:
        (offset,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
        while offset:
            if offset in seen:
                raise InputError(f"{path} is damaged: the chain of its pages runs in a circle; restore it")
            seen.add(offset)
            file.seek(offset)
            (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
            file.seek(offset + form.tagnosize + tags * form.tagsize)
            (offset,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    except (struct.error, OSError, OverflowError):  # read or sought past the end
        raise InputError(
            f"{path} is truncated: it ends ({os.path.getsize(path)} bytes) before its page {len(seen)}; copy it again"
        ) from None
    if not seen:
        raise InputError(f"{path} holds no page; give another file")
    return len(seen)


def _check_page(page: tifffile.TiffPage, where: str) -> None:
    if page.samplesperpixel != 1 or page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.PALETTE):
        kind = getattr(page.photometric, "name", str(page.photometric))
        raise InputError(
            f"{where} is not grey but {kind} with {page.samplesperpixel} samples a pixel; "
            "convert it to one grey channel (in Fiji: Image > Type > 8-bit)"
        )
    if page.dtype is None or (page.dtype != bool and page.dtype.name not in DTYPES):
        raise InputError(
            f"{where} has dtype {page.dtype or f'of {page.bitspersample} bits'}; "
            f"{', '.join(DTYPES)} are read: convert it (in Fiji: Image > Type > 16-bit or 32-bit float)"
        )
    if len(page.shape) != 2 or 0 in page.shape:
        raise InputError(f"{where} has shape {page.shape}, not (y, x); save each slice as a page of its own")
    if int(page.compression) != 1 and int(page.compression) not in tifffile.TIFF.DECOMPRESSORS:
        raise InputError(f"{where} has the unknown compression {page.compression}; save it again with deflate")


def _check_segments(page: tifffile.TiffPage, where: str, size: int) -> None:
    """Each strip or tile is there, and within the file."""
    (height, width), (y, x) = page.chunks[:2], page.shape
    rows = -(-y // height)
    wanted = rows * -(-x // width)
    offsets, counts = page.dataoffsets, page.databytecounts
    kind = "tiles" if page.is_tiled else "strips"
    if page.is_memmappable and len(offsets) == len(counts) == 1:
        wanted = 1
    if len(offsets) < wanted or len(counts) < wanted or 0 in counts[:wanted] or 0 in offsets[:wanted]:
        there = sum(1 for o, c in zip(offsets, counts, strict=False) if o and c)
        raise InputError(f"{where} is damaged: {there} of its {wanted} {kind} are there; restore the file")
    end = max(offset + count for offset, count in zip(offsets, counts, strict=False))
    if page.is_memmappable:
        end = max(end, offsets[0] + page.nbytes)
    if end > size:
        raise InputError(f"{where} is truncated: it reaches to byte {end}, the file has {size}; copy it again")
    if int(page.compression) == 1:
        lines = rows * height if page.is_tiled else y
        least = lines * (wanted // rows if page.is_tiled else 1) * -(-(width * page.bitspersample) // 8)
        if sum(counts) < least:
            raise InputError(f"{where} is truncated: it has {sum(counts)} of {least} bytes; restore the file")


def _check_count(tiff: tifffile.TiffFile, path: str, pages: int) -> int:
    """Number of slices: the pages, or what ImageJ or tifffile say follows the only page."""
    promised, source = _promised(tiff, path)
    if promised <= pages:
        return pages
    if pages == 1 and source != "OME":
        return promised
    raise InputError(
        f"{path} has {pages} pages, its {source} metadata tell of {promised}: "
        "it is truncated, or one file of several; copy it again, or save it as one file"
    )


def _promised(tiff: tifffile.TiffFile, path: str) -> tuple[int, str]:
    """How many slices the metadata tell of, and whose they are."""
    if tiff.is_imagej:
        metadata = tiff.imagej_metadata or {}
        _check_single(path, {"channels": metadata.get("channels", 1), "time points": metadata.get("frames", 1)})
        return int(metadata.get("images", 1)), "ImageJ"
    if tiff.is_ome:
        try:
            pixels = ET.fromstring(tiff.ome_metadata or "").find(".//{*}Pixels")
        except ET.ParseError as error:
            raise InputError(f"the OME metadata of {path} are broken ({error}); save it again") from error
        if pixels is None:
            return 1, "OME"
        _check_single(path, {"channels": pixels.get("SizeC", 1), "time points": pixels.get("SizeT", 1)})
        return int(pixels.get("SizeZ", 1)), "OME"
    return _shaped(tiff), "tifffile"


def _check_single(path: str, counts: dict[str, Any]) -> None:
    for what, count in counts.items():
        if int(count) > 1:
            raise InputError(f"{path} has {count} {what}; save one alone as a stack (in Fiji: Image > Duplicate)")


def _shaped(tiff: tifffile.TiffFile) -> int:
    """Slices of the shape that tifffile writes into the first page's description; 1 without one."""
    page = tiff.pages[0].aspage()
    try:
        shape = json.loads(page.description)["shape"]
        return math.prod(int(n) for n in shape) // math.prod(page.shape)
    except (ValueError, KeyError, TypeError):
        return 1


def _spacing(tiff: tifffile.TiffFile) -> Spacing | None:
    if tiff.is_ome:
        return from_ome(tiff.ome_metadata or "")
    if tiff.is_imagej:
        tags = tiff.pages[0].aspage().tags
        x, y = (_ratio(tags.valueof(name)) for name in ("XResolution", "YResolution"))
        return from_imagej(tiff.imagej_metadata or {}, (x, y))
    return None


def _ratio(value: Any) -> float:
    """A TIFF rational as a number; 0 where it is missing or senseless."""
    if not isinstance(value, tuple) or len(value) != 2 or value[1] == 0:
        return 0.0
    return float(np.float64(value[0]) / value[1])


def _said(number: int, page: tifffile.TiffPage) -> str:
    return f"page {number} is {'x'.join(map(str, page.shape))} {page.dtype}"
