"""A read region through a network of others: resampled to its pixels, in windows where it is large, and back again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch

from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.ops.overlapping_ranges import overlapping_ranges
from mitoscale.ops.resample import from_network, to_network

Predict = Callable[[torch.Tensor], torch.Tensor]
"""(z, y, x) float32 of the network's pixels to (z, y, x) float32 probability 0..1, both on the CPU."""

_LEAST = 1e-3
"""Weight of pixels whose surroundings a window does not hold; they count only where no other window has them."""


class Windows:
    """Asks a network for a read region.

    Parameters
    ----------
    predict : Predict
        Asks the network for one window.
    pixel_nm : (z, y, x)
        Pixel size it works at; None on an axis: the volume's own.
    spacing : (z, y, x)
        Voxel size of the volume in nm.
    largest : (z, y, x)
        Largest window in network pixels; a larger region is cut into windows that overlap.
    overlap : (z, y, x)
        Network pixels that neighbouring windows have in common.
    halo : (z, y, x)
        Network pixels along a window's edge that are not to be trusted.
    """

    def __init__(
        self,
        predict: Predict,
        *,
        pixel_nm: tuple[float | None, float | None, float | None],
        spacing: Spacing,
        largest: Triple,
        overlap: Triple,
        halo: Triple = (0, 0, 0),
    ) -> None:
        self.predict, self.largest, self.overlap, self.halo = predict, largest, overlap, halo
        self.ratios = tuple((p or s) / s for p, s in zip(pixel_nm, spacing, strict=True))

    def to_network(self, image: np.ndarray, region: Region) -> torch.Tensor:
        """(z, y, x) float32 grey values 0..255 at the network's pixels.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        region : Region
            The level-0 voxels it covers.
        """
        weights = [to_network(a, b, r) for a, b, r in self._rows(region)]
        return _resampled(torch.from_numpy(image.astype(np.float32)), weights, self.ratios)

    def to_volume(self, probability: torch.Tensor, region: Region) -> np.ndarray:
        """(Z, Y, X) float32 at the volume's own voxels.

        Parameters
        ----------
        probability : (z, y, x) float32
            At the network's pixels.
        region : Region
            The level-0 voxels it covers.
        """
        weights = [from_network(a, b, r) for a, b, r in self._rows(region)]
        return _resampled(probability, weights, self.ratios).numpy()

    def _rows(self, region: Region) -> list[tuple[int, int, float]]:
        return list(zip(region.start, region.stop, self.ratios, strict=True))

    def ask(self, image: torch.Tensor) -> torch.Tensor:
        """(z, y, x) probability of a (z, y, x) image; where windows overlap, what is nearer to a middle counts more."""
        total, weight = torch.zeros(image.shape), torch.zeros(image.shape)
        each = [overlapping_ranges(*numbers) for numbers in zip(image.shape, self.largest, self.overlap, strict=True)]
        for ranges in product(*each):
            place = tuple(slice(*r) for r in ranges)
            ramps = [
                _ramp(b - a, overlap, halo, a > 0, b < length)
                for (a, b), overlap, halo, length in zip(ranges, self.overlap, self.halo, image.shape, strict=True)
            ]
            ramp = ramps[0][:, None, None] * ramps[1][:, None] * ramps[2]
            total[place] += self.predict(image[place]) * ramp
            weight[place] += ramp
        return total / weight


def _resampled(values: torch.Tensor, weights: list[np.ndarray], ratios: tuple[float, ...]) -> torch.Tensor:
    """Apply an axis' weights where its pixels are others than the volume's."""
    for axis, (matrix, ratio) in enumerate(zip(weights, ratios, strict=True)):
        if ratio != 1.0:
            values = torch.tensordot(torch.from_numpy(matrix), values, ([1], [axis])).movedim(0, axis)
    return values


def _ramp(length: int, overlap: int, halo: int, before: bool, after: bool) -> torch.Tensor:
    """(length,) weights that rise from the ends that have a neighbour there."""
    place, far = torch.arange(length), torch.full((length,), length + overlap)
    distance = torch.minimum(place + 1 if before else far, length - place if after else far)
    return ((distance - halo) / max(overlap - halo, 1)).clamp(min=_LEAST, max=1.0)
