"""The pages of an OME-TIFF that are one stack, as its OME-XML says: of one series, one channel and one time, in all its files."""

from __future__ import annotations

from typing import Any

import numpy as np
import tifffile

from mitoscale.core.errors import InputError
from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources.axes import axis_order

_MOST_COLOURS = 4  # more channels than these are slices that were saved under the wrong name


def ome_pages(tif: tifffile.TiffFile, path: str, reading: Reading) -> list[Any] | None:
    """tifffile's pages of the stack, in order; None where the XML says nothing of use.

    Parameters
    ----------
    tif : TiffFile
        An open OME-TIFF.
    path : str
        Its name, for errors.
    reading : Reading
        Which series, channel and time.

    Raises
    ------
    InputError
        If there are several and none is chosen, or a file of the set is missing.
    """
    series = [s for s in tif.series if not s.keyframe.is_reduced]
    if not series or any(s.kind != "ome" for s in series):
        return None
    if len(series) > 1 and (reading.series is None or reading.series >= len(series)):
        there = ", ".join(f"{n}: {'x'.join(map(str, s.shape))} {s.axes}" for n, s in enumerate(series[:6]))
        raise InputError(f"{path} holds {len(series)} series ({there}); choose one with --series 0 .. {len(series) - 1}")
    chosen = series[reading.series or 0 if len(series) > 1 else 0]
    names, shape = chosen.axes.lower(), chosen.shape
    if not names.endswith("yx") or not set(names) <= set("tczyx"):
        return None
    pages = list(chosen.pages)
    if len(pages) != int(np.prod(shape[:-2])):
        return None
    gone = sum(page is None for page in pages)
    if gone:
        raise InputError(f"{path} names other files of its set, and {gone} of {len(pages)} slices are missing; copy them beside it")
    order = axis_order(_meant(names, shape), shape, reading, path)
    if "z" not in order.names:
        index: tuple[Any, ...] = order.fixed[:-2]
        return [np.array(pages, object).reshape(shape[:-2])[index]] if index else pages
    index = tuple(slice(None) if f is None else f for f in order.fixed[:-2])
    return list(np.array(pages, object).reshape(shape[:-2])[index])


def _meant(names: str, shape: tuple[int, ...]) -> str:
    """The axes, where slices were saved as times or as channels."""
    lengths = dict(zip(names, shape, strict=True))
    if lengths.get("z", 1) > 1:
        return names
    times, channels = lengths.get("t", 1), lengths.get("c", 1)
    if times > 1 and channels == 1:
        return names.replace("z", "?").replace("t", "z")
    if channels > _MOST_COLOURS and times == 1:
        return names.replace("z", "?").replace("c", "z")
    return names
