"""TIFF: one file, OME-TIFF, or a folder of slices."""

from __future__ import annotations

from functools import partial

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.export.exported import Content
from mitoscale.export.highest import highest_label
from mitoscale.export.kind import Kind
from mitoscale.export.level import Level
from mitoscale.storage.tiff_planes import write_slices, write_stack


def write_file(content: Content, path: str, *, ome: bool) -> None:
    """Write one multi-page TIFF.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The file.
    ome : bool
        With OME metadata.
    """
    level = content.labels[0]
    dtype = smallest(level)
    write_stack(path, (plane.astype(dtype) for plane in level.planes()), level.shape, dtype, level.spacing, ome=ome)


def write_folder(content: Content, path: str) -> None:
    """Write a folder of slices.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The folder.
    """
    level = content.labels[0]
    dtype = smallest(level)
    write_slices(path, (plane.astype(dtype) for plane in level.planes()), level.spacing)


TIFF = Kind(name="tiff", endings=(".tif", ".tiff"), write=partial(write_file, ome=False), renumbers=True)
OME_TIFF = Kind(name="ome-tiff", endings=(".ome.tif", ".ome.tiff"), write=partial(write_file, ome=True), renumbers=True)
SLICES = Kind(name="slices", endings=("",), write=write_folder, folder=True, renumbers=True)


def smallest(level: Level) -> np.dtype:
    """uint16 where all labels fit, else uint32.

    Raises
    ------
    InputError
        If a label does not fit in 32 bits, which is all that TIFF readers commonly know.
    """
    highest = highest_label(level)
    if highest >= 2**32:
        raise InputError(f"label {highest} does not fit in the 32 bits of a TIFF; add --renumber, or export to .n5 or .zarr")
    return np.dtype(np.uint16 if highest < 2**16 else np.uint32)
