"""What a TIFF's metadata promise: the voxel size, and how many slices there are."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from typing import Any

import tifffile

from mitoscale.core.errors import InputError
from mitoscale.storage.lengths import nanometers
from mitoscale.storage.sources.reader import PartialSpacing

_SANE = (0.1, 999.0)  # nm: outside, somebody has left a default such as 1 pixel/µm or 1 inch in the file
_RESOLUTION_NM = {2: 2.54e7, 3: 1e7}  # of TIFF's inch and centimetre
_MOST_COLOURS = 4  # more channels than these are slices that were saved under the wrong name


def promised_slices(tif: tifffile.TiffFile, path: str) -> int | None:
    """How many slices ImageJ's, OME's or tifffile's metadata say there are; None where nothing is said.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The open file.
    path : str
        What errors call it.

    Raises
    ------
    InputError
        If they speak of several channels or times, which are not slices.
    """
    if tif.is_imagej:
        content = tif.imagej_metadata or {}
        counts = {"channels": content.get("channels", 1), "times": content.get("frames", 1)}
        slices = content.get("images")
        # Fiji calls the slices of a stack frames, and tifffile channels, where nobody has told them what they are
        if counts["times"] == slices:
            counts["times"] = 1
        if counts["channels"] == slices and slices > _MOST_COLOURS:
            counts["channels"] = 1
    elif tif.is_ome and (pixels := _ome_pixels(tif)) is not None:
        counts = {"channels": int(pixels.get("SizeC", 1)), "times": int(pixels.get("SizeT", 1))}
        slices = int(pixels.get("SizeZ", 1))
        if slices == 1 and counts["channels"] == 1:
            slices, counts["times"] = counts["times"], 1
        elif slices == 1 and counts["times"] == 1 and counts["channels"] > _MOST_COLOURS:
            slices, counts["channels"] = counts["channels"], 1
    elif tif.shaped_metadata and len(tif.shaped_metadata) == 1:
        shape = tif.shaped_metadata[0]["shape"]
        if tuple(shape[-2:]) != tif.pages.first.shape:
            return None
        if sum(n > 1 for n in shape[:-2]) > 1:
            raise InputError(f"{path} has {len(shape)} dimensions {tuple(shape)}; save one (z, y, x) stack of its own")
        return math.prod(shape[:-2])
    else:
        return None
    for what, count in counts.items():
        if count and int(count) > 1:
            raise InputError(f"{path} has {count} {what}; save the one that shows membranes as a stack of its own")
    return int(slices) if slices else None


def stored_spacing(tif: tifffile.TiffFile) -> PartialSpacing:
    """Voxel size (z, y, x) in nm by OME-XML, ImageJ or TIFF's own resolution; None for what is not told, or not sanely."""
    if tif.is_ome and (pixels := _ome_pixels(tif)) is not None:
        return _sane([_ome_length(pixels, axis) for axis in "ZYX"])
    if tif.is_imagej:
        content = tif.imagej_metadata or {}
        # Fiji gives y and z units of their own where they are not those of x
        factors = [nanometers(content.get(f"{axis}unit", content.get("unit"))) for axis in "zyx"]
        z = _number(content.get("spacing"))
        y, x = (_pixel(tif.pages.first.tags.get(name)) for name in ("YResolution", "XResolution"))
        return _sane([None if s is None or f is None else s * f for s, f in zip((z, y, x), factors, strict=True)])
    first = tif.pages.first
    unit = first.tags.get("ResolutionUnit")
    factor = _RESOLUTION_NM.get(int(unit.value)) if unit is not None else None
    y, x = (_pixel(first.tags.get(name)) for name in ("YResolution", "XResolution"))
    return _sane([None, *(None if s is None or factor is None else s * factor for s in (y, x))])


def _ome_pixels(tif: tifffile.TiffFile) -> ElementTree.Element | None:
    try:
        root = ElementTree.fromstring(tif.ome_metadata or "")
    except ElementTree.ParseError:
        return None
    return root.find(".//{*}Pixels")


def _ome_length(pixels: ElementTree.Element, axis: str) -> float | None:
    factor = nanometers(pixels.get(f"PhysicalSize{axis}Unit", "µm"))  # µm is OME's default
    length = _number(pixels.get(f"PhysicalSize{axis}"))
    return None if factor is None or length is None else length * factor


def _pixel(tag: Any) -> float | None:
    """Length of a pixel from a resolution tag, which is pixels per unit as a fraction."""
    if tag is None or not tag.value[0]:
        return None
    return tag.value[1] / tag.value[0]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _sane(lengths: list[float | None]) -> PartialSpacing:
    # resolutions are fractions of 32-bit integers: their rounding is not part of the voxel size
    z, y, x = (
        None if length is None or not _SANE[0] <= abs(length) <= _SANE[1] else float(f"{abs(length):.6g}") for length in lengths
    )
    return z, y, x
