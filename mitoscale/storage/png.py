"""One PNG slice."""

from __future__ import annotations

import os
import struct

import numpy as np

from mitoscale.core.errors import BlockError, InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {2: "RGB", 3: "coloured by a palette", 4: "grey with alpha", 6: "RGB with alpha"}
_HEAD_BYTES = 33
_TAIL_BYTES = 4096


def examine_png(path: str) -> tuple[tuple[int, int], str]:
    """Shape (y, x) and dtype of a grey PNG, from its first bytes; the last ones tell whether it is whole.

    Raises
    ------
    InputError
        If it is no PNG, is cut off, or has colours.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    if not head.startswith(_SIGNATURE):
        raise InputError(f"{path} is not a PNG file; convert it, or choose the slices with a glob")
    if len(head) < _HEAD_BYTES or b"IEND" not in tail:
        raise InputError(f"{path} is cut off: its last chunk is missing at byte {size}; copy or export it again")
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    if colour != 0:
        raise InputError(f"{path} is {_COLOURS.get(colour, 'damaged')}; convert the slices to 8-bit grey")
    return (height, width), "uint16" if depth == 16 else "uint8"


def read_png(path: str, rows: slice, columns: slice) -> np.ndarray:
    """Part of a PNG, as (Y, X) uint8 or uint16; all of it is decoded.

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
    import imagecodecs  # slow to import, and only PNG slices need it

    try:
        with open(path, "rb") as file:
            return imagecodecs.png_decode(file.read())[rows, columns]
    except (OSError, ValueError, IndexError, imagecodecs.PngError) as error:
        raise BlockError(f"cannot decode {path}: {error}") from error


def write_png(path: str, plane: np.ndarray) -> None:
    """Write a grey PNG.

    Parameters
    ----------
    path : str
        The file.
    plane : (Y, X) uint8 or uint16
        Grey values.
    """
    import imagecodecs

    with open(path, "wb") as file:
        file.write(imagecodecs.png_encode(np.ascontiguousarray(plane)))
