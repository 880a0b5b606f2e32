"""A Zarr array that is read when it is indexed, in the way NumPy is indexed: what Dask builds a lazy array from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.storage.arrays import Array

_EDGE = 256
"""Chunks of an array without shards are read together up to about this many voxels along an edge."""


class Readable(Protocol):
    """An :class:`~mitoscale.storage.arrays.Array`, or what reads a source of another kind."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x)."""

    @property
    def dtype(self) -> Any:
        """NumPy dtype, or its name."""

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region."""


@dataclass(frozen=True)
class LazyArray:
    """Shape, dtype and indexing of an array on disk; cheap to make and to pickle.

    Examples
    --------
    >>> import dask.array as da
    >>> from mitoscale.storage.arrays import open_array
    >>> lazy = LazyArray(open_array("RUN/volume.zarr/0"))  # doctest: +SKIP
    >>> da.from_array(lazy, chunks=lazy.parts)  # doctest: +SKIP
    """

    array: Readable
    """The array that voxels are read from."""
    wanted: tuple[int, ...] | None = None
    """What is best read at once, where that is known."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in voxels."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype."""
        return np.dtype(self.array.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.array.shape)

    @property
    def parts(self) -> tuple[int, ...]:
        """What is best read at once: a shard, or some chunks where there are none."""
        if self.wanted or not isinstance(self.array, Array):
            return self.wanted or (1, *self.shape[1:])
        return self.array.shards or tuple(c * max(1, _EDGE // c) for c in self.array.chunks)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Integers, slices (also with steps) and ``...``; the box around them is read."""
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in index:
            place = index.index(Ellipsis)
            fill = (slice(None),) * (self.ndim - len(index) + 1)
            index = (*index[:place], *fill, *index[place + 1 :])
        index = (*index, *(slice(None),) * (self.ndim - len(index)))
        box, inside = zip(*(_part(i, n) for i, n in zip(index, self.shape, strict=True)), strict=True)
        (z0, z1), (y0, y1), (x0, x1) = ((part.start, part.stop) for part in box)
        return self.array.read(Region(start=(z0, y0, x0), stop=(z1, y1, x1)))[inside]


def _part(index: int | slice, length: int) -> tuple[slice, int | slice]:
    """The range to read along an axis, and how to index what was read."""
    if not isinstance(index, slice):
        place = int(index) + (length if index < 0 else 0)
        if not 0 <= place < length:
            raise IndexError(f"index {index} is out of bounds for an axis of {length}")
        return slice(place, place + 1), 0
    wanted = range(length)[index]
    if not wanted:
        return slice(0, 0), slice(None)
    low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
    return slice(low, high + 1), slice(None, None, wanted.step)
