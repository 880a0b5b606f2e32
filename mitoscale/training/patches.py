"""Windows to fine-tune on: each slice cut into patches, those with mitochondria, and augmented crops of the same volumes.

A window is made when it is asked for, always the same for the same number, so that a set of any length takes no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cc3d
import numpy as np

from mitoscale.ops.resample import mirrored, to_network
from mitoscale.training.prompts import LEAST_AREA
from mitoscale.training.samples import UNLABELLED, Annotated, CropSampler


@dataclass(frozen=True, kw_only=True)
class Window:
    """One window that a network sees, and its truth."""

    image: np.ndarray
    """(S, S) uint8 normalised grey values."""
    profiles: np.ndarray
    """(S, S) int32 connected profiles, 0 is background, :data:`~mitoscale.training.crop.UNLABELLED` is unknown."""


class Windows(Protocol):
    """A sequence of windows."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Window: ...


class PatchGrid:
    """The patches of an annotated volume that hold a mitochondrion, as inference sees them.

    Parameters
    ----------
    volume : Annotated
        The volume.
    size : int
        Height and width of a patch in network pixels. The last of a row ends at the border; a smaller slice is mirrored.
    pixel_nm : (y, x)
        Size of a network pixel in nm.
    every : int
        Only every so many slices.
    """

    def __init__(self, volume: Annotated, *, size: int, pixel_nm: tuple[float, float], every: int = 1) -> None:
        self.volume = volume
        self.size = size
        lengths = volume.image.shape[1:]
        ratios = [p / s for p, s in zip(pixel_nm, volume.spacing[1:], strict=True)]
        self._rows, self._columns = (to_network(0, n, r) for n, r in zip(lengths, ratios, strict=True))
        # The volume's pixel under the middle of each network pixel: labels are not averaged.
        self._nearest = [
            np.minimum((np.arange(len(w)) + 0.5) * r, n - 1).astype(np.int64)
            for w, r, n in zip((self._rows, self._columns), ratios, lengths, strict=True)
        ]
        places = [
            (z, y, x)
            for z in range(0, len(volume.image), every)
            for y in _starts(len(self._rows), size)
            for x in _starts(len(self._columns), size)
        ]
        self.total = len(places)
        self._places = [place for place in places if (self._labels(place) > 0).any()]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Window:
        place = self._places[index]
        indices = self._indices(place)
        weights = [w[i] for w, i in zip((self._rows, self._columns), indices, strict=True)]
        # Only the part of the slice that the patch is made of.
        reach = [slice((n := np.flatnonzero(w.any(axis=0)))[0], n[-1] + 1) for w in weights]
        part = self.volume.image[place[0]][tuple(reach)].astype(np.float32)
        image = weights[0][:, reach[0]] @ part @ weights[1][:, reach[1]].T
        return Window(image=np.rint(image).astype(np.uint8), profiles=profiles_of(self._labels(place)))

    def _indices(self, place: tuple[int, int, int]) -> list[np.ndarray]:
        """Network pixels of a patch, row by row and column by column."""
        lengths = (len(self._rows), len(self._columns))
        return [mirrored(start, self.size, n) for start, n in zip(place[1:], lengths, strict=True)]

    def _labels(self, place: tuple[int, int, int]) -> np.ndarray:
        """(S, S) int32 instances of a patch."""
        rows, columns = (nearest[i] for nearest, i in zip(self._nearest, self._indices(place), strict=True))
        return self.volume.labels[place[0]][np.ix_(rows, columns)]


class JoinedWindows:
    """The windows of several sequences, one sequence after the other.

    Parameters
    ----------
    parts : sequence of Windows
        The sequences.
    """

    def __init__(self, parts: Sequence[Windows]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> Window:
        which = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.parts[which][index - int(self.starts[which])]


class AugmentedCrops:
    """Crops of annotated volumes, rotated, scaled and varied; those without a profile to ask for are drawn anew.

    Parameters
    ----------
    sampler : CropSampler
        Draws the crops.
    count : int
        How many.
    seed : int
        The same seed gives the same crops.
    """

    def __init__(self, sampler: CropSampler, *, count: int, seed: int) -> None:
        self.sampler = sampler
        self.count = count
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Window:
        rng = np.random.default_rng([self.seed, index])
        for _ in range(100):
            crop = self.sampler.draw(rng)
            profiles = profiles_of(crop.labels)
            if can_be_asked(profiles):
                break
        return Window(image=crop.image[0], profiles=profiles)


def can_be_asked(profiles: np.ndarray) -> bool:
    """Whether (S, S) profiles hold one that is large enough to be asked for."""
    return bool(np.bincount(np.maximum(profiles, 0).ravel())[1:].max(initial=0) >= LEAST_AREA)


def profiles_of(labels: np.ndarray) -> np.ndarray:
    """(S, S) int32 connected profiles (8-connected) of (S, S) instances; what is unlabelled stays so."""
    found: np.ndarray = cc3d.connected_components(np.maximum(labels, 0).astype(np.uint32), connectivity=8)
    return np.where(labels < 0, UNLABELLED, found.astype(np.int32))


def _starts(length: int, size: int) -> Sequence[int]:
    """First pixels of patches that cover ``length``, the last one ending there."""
    return [*range(0, length - size, size), max(length - size, 0)] if length > size else [0]
