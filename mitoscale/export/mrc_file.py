"""MRC, for IMOD, Chimera and the tools of tomography: 16 bits, which is all that the format has for labels."""

from __future__ import annotations

import math

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.export.exported import Content
from mitoscale.export.highest import highest_label
from mitoscale.export.kind import Kind
from mitoscale.storage.layout import free_bytes
from mitoscale.storage.mrc_writing import write_mrc

_MOST = 2**16 - 1


def check(content: Content) -> None:
    """Raise where labels do not fit, or the disk has no place for them: MRC is not compressed.

    Raises
    ------
    InputError
        With the limit, and what to do.
    """
    level = content.labels[0]
    needed, free = 2 * math.prod(level.shape), free_bytes(content.target)
    if needed > free:
        raise InputError(f"an MRC of that takes {needed / 1e9:.3g} GB, {free / 1e9:.3g} GB are free; give a --region or a --level")
    highest = highest_label(level)
    if highest > _MOST:
        raise InputError(
            f"label {highest} does not fit in the 16 bits of an MRC (up to {_MOST}); number those of a smaller part anew with "
            "--region and --renumber, or export to .n5 or .zarr, which hold all"
        )


def write(content: Content, path: str) -> None:
    """Write int16, which all programs read, or uint16 where a label needs it.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The file.
    """
    level = content.labels[0]
    dtype = np.dtype(np.int16 if highest_label(level) <= np.iinfo(np.int16).max else np.uint16)
    write_mrc(path, (plane.astype(dtype) for plane in level.planes()), level.shape, dtype, level.spacing, level.origin)


KIND = Kind(name="mrc", endings=(".mrc",), write=write, check=check, renumbers=True)
