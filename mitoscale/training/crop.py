"""The voxels of a training crop: which slices, on which grid, and what stands there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional

from mitoscale.core.geometry import Spacing
from mitoscale.ops.downsample import mean_downsample

UNLABELLED = -1
"""Label of voxels that nobody has annotated: they are neither mitochondrion nor background."""


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """An annotated volume to draw crops from."""

    image: np.ndarray
    """(Z, Y, X) uint8 normalised grey values."""
    labels: np.ndarray
    """(Z, Y, X) int32 instances, 0 is background, :data:`UNLABELLED` is unknown."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    share: float = 1.0
    """How often it is drawn from, relative to the others; 0: only its grey values are borrowed."""
    name: str = ""
    """What it is called in scores."""
    mistaken: np.ndarray | None = None
    """(N, 3) voxels that an earlier network took for mitochondria; a part of the crops is centred on them."""

    @cached_property
    def half(self) -> np.ndarray:
        """(Z, Y / 2, X / 2) uint8 grey values at twice the pixel size: what is not aliased where crops are coarser."""
        return mean_downsample(self.image, (1, 2, 2))


@dataclass(kw_only=True)
class Cut:
    """A part of a volume, resampled."""

    image: np.ndarray
    """(K, S, S) float32 grey values 0..1 of different slices."""
    labels: np.ndarray
    """(K, S, S) int32 instances of these slices."""
    slices: list[int]
    """(K,) which slices, rising."""
    channels: list[int]
    """(C,) the place in ``slices`` of each channel: where slices are thick, channels are copies."""
    own: int
    """Place in ``slices`` of the slice whose labels are learnt."""
    grid: torch.Tensor
    """(S, S, 2) voxel (y, x) of each pixel."""


def cut(volume: Annotated, slices: list[int], z: int, grid: torch.Tensor) -> Cut:
    """Resample a part of a volume.

    Parameters
    ----------
    volume : Annotated
        The volume.
    slices : list of int
        (C,) slice of each channel.
    z : int
        The slice whose labels are learnt.
    grid : (S, S, 2) float
        Voxel (y, x) of each pixel.
    """
    different = sorted({*slices, z})
    image = grey_values(volume, different, grid)
    labels = sample(volume.labels[different], grid, "nearest").round().int().numpy()
    place = {one: i for i, one in enumerate(different)}
    return Cut(image=image, labels=labels, slices=different, channels=[place[s] for s in slices], own=place[z], grid=grid)


def grey_values(volume: Annotated, slices: list[int], grid: torch.Tensor) -> np.ndarray:
    """(K, S, S) float32 grey values 0..1 of slices on a grid.

    Parameters
    ----------
    volume : Annotated
        The volume.
    slices : list of int
        Which slices.
    grid : (S, S, 2) float
        Voxel (y, x) of each pixel.
    """
    step = float((grid[1, 0] - grid[0, 0]).norm())
    if step >= 1.5 and min(volume.half.shape[1:]) >= 2:  # the half-size image is the antialiased one at this scale
        values = sample(volume.half[slices], (grid - 0.5) / 2, "bilinear")
    else:
        values = sample(volume.image[slices], grid, "bilinear")
    grey: np.ndarray = values.numpy() / np.float32(255.0)
    return grey


def sample(slices: np.ndarray, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """Values of slices on a grid; beyond the border they are mirrored.

    Parameters
    ----------
    slices : (C, Y, X) any number type
        The slices.
    grid : (S, S, 2) float
        Voxel (y, x) of each pixel.
    mode : str
        ``bilinear`` or ``nearest``.

    Returns
    -------
    (C, S, S) float32
    """
    height, width = slices.shape[-2:]
    low = torch.floor(grid.reshape(-1, 2).min(0).values).long() - 2
    high = torch.ceil(grid.reshape(-1, 2).max(0).values).long() + 3
    y0, x0 = (int(v.clamp(0, n - 2)) for v, n in zip(low, (height, width), strict=True))
    y1, x1 = (int(v.clamp(a + 2, n)) for v, a, n in zip(high, (y0, x0), (height, width), strict=True))
    part = torch.from_numpy(np.ascontiguousarray(slices[:, y0:y1, x0:x1]).astype(np.float32))
    size = torch.tensor([y1 - y0, x1 - x0], dtype=torch.float32)
    normal = (grid - torch.tensor([y0, x0])) / (size - 1) * 2 - 1
    sampled: torch.Tensor = functional.grid_sample(
        part[None], normal.flip(-1)[None], mode=mode, padding_mode="reflection", align_corners=True
    )
    return sampled[0]
