"""Labels numbered anew from 1 on, where those of a run are too high for a kind that has few bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.export.level import Level
from mitoscale.ops.run_lengths import run_lengths
from mitoscale.storage.lazy import Readable

_STEP = (32, 128, 128)
_GATHERED = 2**16
"""So many labels of blocks are gathered before they are merged."""


def labels_of(levels: Sequence[Level]) -> np.ndarray:
    """(N,) uint64 ascending: all labels that any voxel of any level has, without 0; read a block at a time."""
    found = [np.zeros(0, np.uint64)]
    for level in levels:
        for block in level.blocks(_STEP):
            _, values = run_lengths(level.read(block))
            found.append(np.unique(values).astype(np.uint64))
            if sum(map(len, found[1:])) > max(len(found[0]), _GATHERED):  # seldom, and so cheap for each block
                found = [np.unique(np.concatenate(found))]
    labels = np.unique(np.concatenate(found))
    return labels[labels > 0]


@dataclass(frozen=True, kw_only=True)
class Renumbered:
    """An array whose labels are replaced by their place in a list, from 1 on."""

    array: Readable
    """Labels, all of them 0 or in the list."""
    names: np.ndarray
    """(N,) uint64 ascending."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x)."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """As the array's: numbers only get smaller."""
        return np.dtype(self.array.dtype)

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region, with their new numbers.

        Examples
        --------
        >>> class Two:
        ...     shape, dtype = (1, 1, 3), "uint32"
        ...     def read(self, region):
        ...         return np.array([[[0, 900, 70]]], np.uint32)
        >>> Renumbered(array=Two(), names=np.array([70, 900], np.uint64)).read(Region.of_shape((1, 1, 3))).tolist()
        [[[0, 2, 1]]]
        """
        labels = self.array.read(region)
        lengths, values = run_lengths(labels)
        numbers = np.searchsorted(self.names, values.astype(np.uint64)) + 1
        return np.repeat(np.where(values > 0, numbers, 0).astype(labels.dtype), lengths).reshape(labels.shape)
