"""Training crops: windows of annotated volumes at a random place, angle and scale, with the variation microscopes have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from mitoscale.core.geometry import Spacing
from mitoscale.ops.downsample import mean_downsample
from mitoscale.training.decoys import draw_body, place_body

_MISTAKEN_SHARE = 0.2
"""Part of a volume's crops that may be centred on what an earlier network mistook."""


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """An annotated volume to draw crops from."""

    image: np.ndarray
    """(Z, Y, X) uint8 normalised grey values."""
    labels: np.ndarray
    """(Z, Y, X) int32 instances, 0 is background."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    share: float = 1.0
    """How often it is drawn from, relative to the others."""
    mistaken: np.ndarray | None = None
    """(N, 3) voxels that an earlier network took for mitochondria; a part of the crops is centred on them."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One training window."""

    image: np.ndarray
    """(C, S, S) uint8 normalised grey values: context slices as channels."""
    labels: np.ndarray
    """(S, S) int32 instances of the slice itself."""


class CropSampler:
    """Draws augmented crops.

    Parameters
    ----------
    volumes : list of Annotated
        What to draw from.
    size : int
        Height and width of a crop in pixels.
    pixel_nm : float
        Pixel size of the crops, before the random scale.
    context_nm : tuple of float
        Distance in z of each channel's slice, in nm.
    scale : (low, high)
        Range of the random scale.
    object_share : float
        Part of the crops that is centred near a mitochondrion.
    bodies : float
        Chance that a crop gets a drawn dark body which is no mitochondrion, and then of another one.
    """

    def __init__(
        self,
        volumes: list[Annotated],
        *,
        size: int,
        pixel_nm: float,
        context_nm: tuple[float, ...],
        scale: tuple[float, float] = (0.75, 1.33),
        object_share: float = 0.5,
        bodies: float = 0.0,
    ) -> None:
        self.size = size
        self.pixel_nm = pixel_nm
        self.context_nm = context_nm
        self.scale = scale
        self.object_share = object_share
        self.bodies = bodies
        self.volumes = volumes
        self._shares = np.array([v.share for v in volumes]) / sum(v.share for v in volumes)
        self._coarse = [mean_downsample(v.image, (1, 2, 2)) for v in volumes]
        self._objects = [_object_voxels(v.labels) for v in volumes]

    def draw(self, rng: np.random.Generator) -> Crop:
        """An augmented crop; ``rng`` decides all of it."""
        which = int(rng.choice(len(self.volumes), p=self._shares))
        volume = self.volumes[which]
        centre = self._centre(which, rng)
        grid = self._grid(centre, volume.spacing, rng)
        slices = self._slices(int(centre[0]), volume, rng)
        ratio = self.pixel_nm / volume.spacing[2]
        if ratio >= 1.5:  # the half-size image is the antialiased one at this scale
            image = _sample(self._coarse[which][slices], (grid - 0.5) / 2, "bilinear")
        else:
            image = _sample(volume.image[slices], grid, "bilinear")
        labels = _sample(volume.labels[int(centre[0])][None], grid, "nearest")[0].round().int()
        image = image / 255.0
        while rng.random() < self.bodies:
            self._add_body(image, labels, grid, volume, slices, rng)
        varied = (self._vary(image, rng) * 255.0).round().to(torch.uint8)
        return Crop(image=varied.numpy(), labels=labels.numpy())

    def _add_body(
        self,
        image: torch.Tensor,
        labels: torch.Tensor,
        grid: torch.Tensor,
        volume: Annotated,
        slices: list[int],
        rng: np.random.Generator,
    ) -> None:
        """Draw a dark body that is no mitochondrion, in place."""
        offsets = (np.array(slices) - slices[len(slices) // 2]) * volume.spacing[0]
        body = place_body(self.size, self.pixel_nm, offsets, rng)
        if body is None:
            return
        donor = self._donor(grid[body.rows, body.columns], volume, slices, rng) if rng.random() < 0.4 else None
        draw_body(image.numpy(), body, (labels == 0).numpy(), self.pixel_nm, offsets, rng, donor)

    def _donor(self, grid: torch.Tensor, volume: Annotated, slices: list[int], rng: np.random.Generator) -> np.ndarray | None:
        """(C, H, W) what stands at another place of the volume, the liveliest of a few; None where mitochondria are in the way."""
        best: np.ndarray | None = None
        for _ in range(3):
            place = rng.uniform(0, np.array(volume.image.shape) - 1)
            there = grid - grid.mean((0, 1)) + torch.from_numpy(place[1:].astype(np.float32))
            if _sample(volume.labels[int(place[0])][None], there, "nearest").any():
                continue
            shift = int(place[0]) - slices[len(slices) // 2]
            shifted = [int(np.clip(z + shift, 0, len(volume.image) - 1)) for z in slices]
            found = _sample(volume.image[shifted], there, "bilinear").numpy() / 255.0
            if best is None or found.std() > best.std():
                best = found
        return best

    def _centre(self, which: int, rng: np.random.Generator) -> np.ndarray:
        volume, objects = self.volumes[which], self._objects[which]
        if volume.mistaken is not None and len(volume.mistaken) and rng.random() < _MISTAKEN_SHARE:
            objects = volume.mistaken
        if len(objects) and rng.random() < self.object_share:
            jitter = rng.normal(0, 0.2 * self.size * self.pixel_nm / volume.spacing[2], 3) * (0, 1, 1)
            centre: np.ndarray = np.clip(objects[rng.integers(len(objects))] + jitter, 0, np.array(volume.image.shape) - 1)
            return centre
        return rng.uniform(0, np.array(volume.image.shape) - 1).round()

    def _grid(self, centre: np.ndarray, spacing: Spacing, rng: np.random.Generator) -> torch.Tensor:
        """(S, S, 2) voxel coordinates (y, x) of each pixel: rotated, flipped and scaled."""
        angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
        step = self.pixel_nm * np.exp(rng.uniform(*np.log(self.scale)))
        axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        if rng.random() < 0.5:
            axes[1] *= -1
        steps = ((np.arange(self.size) - (self.size - 1) / 2) * step).astype(np.float32)
        along = axes / np.array(spacing[1:])
        offsets = steps[:, None, None] * along[0].astype(np.float32) + steps[None, :, None] * along[1].astype(np.float32)
        return torch.from_numpy(offsets + centre[1:].astype(np.float32))

    def _slices(self, z: int, volume: Annotated, rng: np.random.Generator) -> list[int]:
        """Slice of each channel; a part of the crops plays a thick-sliced volume or a volume with shifted slices."""
        steps = np.rint(np.array(self.context_nm) / volume.spacing[0]).astype(int)
        if rng.random() < 0.25:
            steps[:] = 0
        elif rng.random() < 0.15:
            steps = np.rint(steps * rng.uniform(0.0, 1.6)).astype(int)
        if rng.random() < 0.5:
            steps = -steps
        return [int(np.clip(z + s, 0, len(volume.image) - 1)) for s in steps]

    @staticmethod
    def _vary(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Contrast, brightness, gamma, blur, noise and slow shading."""
        mean = image.mean()
        image = (image - mean) * rng.uniform(0.6, 1.4) + mean + rng.uniform(-0.15, 0.15)
        image = image.clamp(0, 1) ** float(np.exp(rng.uniform(-0.35, 0.35)))
        if rng.random() < 0.3:
            shade = torch.from_numpy(rng.normal(0, 0.12, (1, 1, 4, 4)).astype(np.float32))
            image = image + functional.interpolate(shade, image.shape[-2:], mode="bicubic", align_corners=False)[0]
        if rng.random() < 0.3:
            sigma = rng.uniform(0.4, 1.3)
            image = torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, sigma, sigma), mode="mirror", truncate=3.0))
        if rng.random() < 0.5:
            strength = np.float32(rng.uniform(0.01, 0.09))
            image = image + torch.from_numpy(rng.standard_normal(image.shape, np.float32) * strength)
        return image.clamp(0, 1)


def _object_voxels(labels: np.ndarray, most: int = 20_000) -> np.ndarray:
    """(N, 3) voxels inside objects, at most ``most``, always the same."""
    flat = np.flatnonzero(labels)
    if len(flat) > most:
        flat = np.random.default_rng(0).choice(flat, most, replace=False)
    return np.stack(np.unravel_index(flat, labels.shape), axis=1)


def _sample(slices: np.ndarray, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """(C, S, S) values of (C, Y, X) slices at (S, S, 2) coordinates (y, x); beyond the border it is mirrored."""
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
