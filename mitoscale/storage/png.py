"""One PNG slice."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Spacing

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}
_TAIL = 4096


@dataclass(frozen=True)
class PngSlice:
    """A PNG that was checked; see :class:`~mitoscale.storage.tiff_file.TiffFile`, whose fields it shares."""

    path: str
    """Absolute path."""
    shape: tuple[int, int, int]
    """(1, y, x) in pixels."""
    dtype: str
    """``uint8`` or ``uint16``."""
    spacing: Spacing | None = None
    """A PNG tells no voxel size."""

    def read(self, z: slice, y: slice, x: slice) -> np.ndarray:
        """Part of the slice as (Z, Y, X), or (0, Y, X) where ``z`` is empty.

        Raises
        ------
        BlockError
            If it cannot be decoded.
        """
        try:
            with open(self.path, "rb") as file:
                image = imagecodecs.png_decode(file.read())
        except (OSError, ValueError, imagecodecs.PngError) as error:
            raise BlockError(f"cannot read {self.path}: {error}; restore it") from error
        if (1, *image.shape) != self.shape or image.dtype != self.dtype:
            raise BlockError(f"{self.path} was replaced while it was read; start again")
        return image[None][z, y, x]


def open_png(path: str) -> PngSlice:
    """Check a PNG by its first and last bytes.

    Raises
    ------
    InputError
        If it is no PNG, truncated, or not grey.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(33)
            file.seek(max(0, os.path.getsize(path) - _TAIL))
            tail = file.read()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if not head.startswith(_SIGNATURE):
        raise InputError(f"{path} is not a PNG; convert it, or give a glob without it")
    if len(head) < 33 or b"IEND" not in tail:
        raise InputError(f"{path} is truncated: the end of the PNG is missing; copy it again")
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    if colour != 0:
        raise InputError(
            f"{path} is not grey but {_COLOURS.get(colour, f'colour type {colour}')}; "
            "convert it to one grey channel (in Fiji: Image > Type > 8-bit)"
        )
    return PngSlice(path=path, shape=(1, height, width), dtype="uint16" if depth == 16 else "uint8")
