"""A mask that was drawn by a model somebody pointed with, kept with the correction so that no model is needed to make it again."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from pydantic import BaseModel, ConfigDict

from mitoscale.core.geometry import Region, Spacing, Triple


class Drawing(BaseModel):
    """A three-dimensional mask at its place.

    Examples
    --------
    >>> mask = np.zeros((1, 2, 3), bool)
    >>> mask[0, 1, 1:] = True
    >>> drawing = Drawing.of(mask, (4, 10, 20), (40.0, 5.0, 5.0), model="sam-small", scores=[0.9])
    >>> drawing.corner_nm, bool((drawing.mask() == mask).all()), drawing.region == Region(start=(4, 10, 20), stop=(5, 12, 23))
    ((160.0, 50.0, 100.0), True, True)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corner_nm: Spacing
    """Place (z, y, x) of the mask's first voxel."""
    spacing_nm: Spacing
    """Voxel size (z, y, x) it was drawn at."""
    shape: Triple
    """Of the mask, (z, y, x)."""
    bits: str
    """The mask: bits in C order, compressed by zlib, as base64."""
    model: str
    """Who drew it: weights by name or path."""
    scores: tuple[float, ...]
    """How sure it was in each slice."""
    box_nm: tuple[float, float, float, float] | None = None
    """The box (y0, x0, y1, x1) that was given for the first slice, if one was."""

    @classmethod
    def of(
        cls,
        mask: np.ndarray,
        corner: Triple,
        spacing: Spacing,
        *,
        model: str,
        scores: list[float],
        box_nm: tuple[float, float, float, float] | None = None,
    ) -> Drawing:
        """Keep a mask.

        Parameters
        ----------
        mask : (Z, Y, X) bool
            The object.
        corner : (z, y, x)
            The voxel at which it begins.
        spacing : (z, y, x)
            Voxel size in nm.
        model : str
            Who drew it.
        scores : list of float
            Of each slice.
        box_nm : (y0, x0, y1, x1), optional
            What was given for the first slice.
        """
        z, y, x = (float(v * s) for v, s in zip(corner, spacing, strict=True))
        bits = base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode()
        shape = (int(mask.shape[0]), int(mask.shape[1]), int(mask.shape[2]))
        kept = tuple(round(score, 4) for score in scores)
        return cls(corner_nm=(z, y, x), spacing_nm=spacing, shape=shape, bits=bits, model=model, scores=kept, box_nm=box_nm)

    @property
    def region(self) -> Region:
        """Where it lies, in voxels of the size it was drawn at."""
        start = tuple(round(p / s) for p, s in zip(self.corner_nm, self.spacing_nm, strict=True))
        return Region(start=(0, 0, 0), stop=self.shape).shifted((start[0], start[1], start[2]))

    def mask(self) -> np.ndarray:
        """(Z, Y, X) bool."""
        size = int(np.prod(self.shape))
        bits = np.frombuffer(zlib.decompress(base64.b64decode(self.bits)), np.uint8)
        result: np.ndarray = np.unpackbits(bits, count=size).astype(bool).reshape(self.shape)
        return result
