"""Raw binary: a file of nothing but voxels, whose shape and dtype the user tells."""

from __future__ import annotations

import math
import os

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources.axes import axis_order
from mitoscale.storage.sources.plain_bytes import PlainBytes
from mitoscale.storage.sources.reader import Kind, Look

SUFFIXES = (".raw", ".bin", ".dat", ".vol")
"""Endings of files that are taken for raw even where their shape is not told, so that it can be asked for."""


def open_raw(look: Look, reading: Reading) -> PlainBytes:
    """Open a file of ``--shape`` and ``--dtype``.

    Parameters
    ----------
    look : Look
        What the path leads to.
    reading : Reading
        What the user has decided of it.

    Raises
    ------
    InputError
        If one is missing, or the file has not exactly as many bytes.
    """
    if reading.shape is None or reading.dtype is None:
        raise InputError(f"{look.path} is read as raw bytes; say what they are with --shape Z,Y,X --dtype uint8")
    try:
        dtype = np.dtype(reading.dtype)
    except TypeError as error:
        raise InputError(f"--dtype {reading.dtype} is none; give one such as uint8, uint16, >u2 (big-endian) or float32") from error
    size, needed = os.path.getsize(look.path), dtype.itemsize * math.prod(reading.shape)
    if size != needed:
        shape = " x ".join(map(str, reading.shape))
        raise InputError(
            f"{look.path} has {size} bytes; {shape} voxels of {reading.dtype} need {needed}: correct --shape or --dtype"
            + (f", or cut off a header of {size - needed} bytes" if 0 < size - needed <= 2**20 else "")
        )
    order = axis_order("zyx", reading.shape, reading, look.path)
    return PlainBytes(
        path=look.path,
        stored_dtype=dtype.str,
        stored_shape=reading.shape,
        offset=0,
        size=size,
        order=order,
    )


KIND = Kind(
    name="raw binary",
    recognises=lambda look: os.path.isfile(look.path) and look.path.lower().endswith(SUFFIXES),
    open=open_raw,
)
