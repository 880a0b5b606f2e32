"""Voxels that lie one after the other in a file: raw binary, and the body of an MRC."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from mitoscale.core.errors import BlockError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.storage.sources import fingerprint
from mitoscale.storage.sources.axes import AxisOrder
from mitoscale.storage.sources.reader import PartialSpacing, check_within, native


@dataclass(frozen=True, kw_only=True)
class PlainBytes:
    """A :class:`~mitoscale.storage.sources.reader.Reader` of an uncompressed file."""

    path: str
    """The file."""
    stored_dtype: str
    """NumPy dtype with its byte order."""
    stored_shape: tuple[int, ...]
    """As the bytes lie, slowest axis first."""
    offset: int
    """First byte of the voxels."""
    size: int
    """Bytes of the file."""
    order: AxisOrder
    """How the stored axes are looked at."""
    spacing: PartialSpacing = (None, None, None)
    """Voxel size (z, y, x) in nm, where it is told."""
    origin: Spacing = (0.0, 0.0, 0.0)
    """In nm."""
    hint: str = ""
    """See the protocol."""
    chunks: Triple | None = None
    """Rows are read."""

    @property
    def fingerprint(self) -> str:
        """64 hex digits."""
        return fingerprint.of_files([self.path], f"{self.stored_dtype}{self.stored_shape}{self.order}")

    @property
    def shape(self) -> Triple:
        """(z, y, x) in voxels."""
        return self.order.shape(self.stored_shape)

    @property
    def dtype(self) -> str:
        """NumPy name."""
        return native(self.stored_dtype)

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region; raises what the protocol says."""
        check_within(region, self.shape)
        try:
            size = os.path.getsize(self.path)
            if size != self.size:
                raise BlockError(f"{self.path} has changed: it had {self.size} bytes and has {size}; restore it")
            stored = np.memmap(self.path, self.stored_dtype, "r", self.offset, self.stored_shape)
        except OSError as error:
            raise BlockError(f"{self.path} cannot be read any more: {error}") from error
        return self.order.arranged(np.asarray(stored[self.order.index(region)])).astype(self.dtype, order="C")

    @property
    def bytes_needed(self) -> int:
        """Bytes the file must have."""
        return self.offset + np.dtype(self.stored_dtype).itemsize * math.prod(self.stored_shape)
