"""One JPEG slice."""

from __future__ import annotations

import os
import struct

import numpy as np

from mitoscale.core.errors import BlockError, InputError

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame, whose header tells the shape."""


def examine_jpeg(path: str) -> tuple[tuple[int, int], str]:
    """Shape (y, x) and dtype of a grey JPEG, from its headers; its last bytes tell whether it is whole.

    Raises
    ------
    InputError
        If it is no JPEG, is cut off, or has colours.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":
            raise InputError(f"{path} is not a JPEG file; convert it, or choose the slices with a glob")
        while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] not in _FRAMES:
            file.seek(struct.unpack(">H", head[2:])[0] - 2, os.SEEK_CUR)
        frame = file.read(6)
        file.seek(max(0, size - 64))
        tail = file.read()
    if len(frame) < 6 or b"\xff\xd9" not in tail:
        raise InputError(f"{path} is cut off: its end mark is missing at byte {size}; copy or export it again")
    depth, height, width, samples = struct.unpack(">BHHB", frame)
    if samples != 1 or depth != 8:
        raise InputError(f"{path} has {samples} samples of {depth} bits a pixel; convert the slices to 8-bit grey")
    return (height, width), "uint8"


def read_jpeg(path: str, rows: slice, columns: slice) -> np.ndarray:
    """Part of a JPEG, as (Y, X) uint8; all of it is decoded.

    Parameters
    ----------
    path : str
        The file.
    rows, columns : slice
        The part, ``start:stop``.

    Raises
    ------
    BlockError
        If it cannot be decoded.
    """
    import imagecodecs  # slow to import, and only such slices need it

    try:
        with open(path, "rb") as file:
            return imagecodecs.jpeg8_decode(file.read())[rows, columns]
    except (OSError, ValueError, IndexError, imagecodecs.Jpeg8Error) as error:
        raise BlockError(f"cannot decode {path}: {error}") from error
