"""Training crops: windows of annotated volumes at a random place, angle and scale, with the variation microscopes have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from mitoscale.core.geometry import Spacing
from mitoscale.training import variety
from mitoscale.training.crop import UNLABELLED, Annotated, Cut, cut, grey_values, sample
from mitoscale.training.decoys import draw_body, place_body
from mitoscale.training.paste import paste_objects

__all__ = ["UNLABELLED", "Annotated", "Crop", "CropSampler"]

_MISTAKEN_SHARE = 0.2
"""Part of a volume's crops that may be centred on what an earlier network mistook."""

_WIDE_SCALE = (0.5, 2.0)
"""Range of the random scale of varied crops."""


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
    varied : float
        Part of the crops that is changed as far as other tissues and microscopes differ; see :mod:`mitoscale.training.variety`.
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
        varied: float = 0.0,
    ) -> None:
        self.size = size
        self.pixel_nm = pixel_nm
        self.context_nm = context_nm
        self.scale = scale
        self.object_share = object_share
        self.bodies = bodies
        self.varied = varied
        self.volumes = volumes
        self._shares = np.array([v.share for v in volumes]) / sum(v.share for v in volumes)
        self._objects = [_object_voxels(v.labels) for v in volumes]
        self._annotated = [[z for z, plane in enumerate(v.labels) if (plane != UNLABELLED).any()] for v in volumes]
        for volume in volumes:
            _ = volume.half  # made once, before processes share the volumes

    def draw(self, rng: np.random.Generator) -> Crop:
        """An augmented crop; ``rng`` decides all of it."""
        wide = bool(rng.random() < self.varied)
        paste = wide and rng.random() < 0.25
        which = int(rng.choice(len(self.volumes), p=self._shares))
        part = self._cut(which, rng, wide, flat=paste)
        if paste:
            other = self._cut(int(rng.choice(len(self.volumes), p=self._shares)), rng, wide, flat=True)
            part.image[0], part.labels[0] = paste_objects(
                part.image[0], part.labels[0], other.image[0], other.labels[0], self.pixel_nm
            )
        while rng.random() < self.bodies:
            self._add_body(part, self.volumes[which], rng)
        image = part.image
        if wide:
            image = self._varied(image, part.labels > 0, rng)
        varied = (_vary(torch.from_numpy(image), rng) * 255.0).round().to(torch.uint8)
        return Crop(image=varied.numpy()[part.channels], labels=part.labels[part.own])

    def _cut(self, which: int, rng: np.random.Generator, wide: bool, flat: bool) -> Cut:
        volume = self.volumes[which]
        centre = self._centre(which, rng)
        grid = self._grid(centre, volume.spacing, rng, _WIDE_SCALE if wide else self.scale)
        z = int(centre[0])
        slices = [z] * len(self.context_nm) if flat else self._slices(z, volume, rng, wide)
        return cut(volume, slices, z, grid)

    def _varied(self, image: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The grey values another tissue or microscope could have."""
        if rng.random() < 0.4:
            image = variety.change_matrix(image, inside, self.pixel_nm, rng)
        chance = rng.random()
        if chance < 0.35:
            image = variety.grey_curve(image, rng)
        elif chance < 0.7:
            image = variety.like_histogram(image, self._borrowed(rng), rng.uniform(0.3, 1.0))
        if rng.random() < 0.4:
            image = variety.like_spectrum(image, self._borrowed(rng), rng.uniform(0.3, 1.0))
        return np.clip(variety.expose(image, rng), 0, 1)

    def _borrowed(self, rng: np.random.Generator) -> np.ndarray:
        """(S, S) grey values from any place of any volume, each volume as often as another."""
        volume = self.volumes[int(rng.integers(len(self.volumes)))]
        place = rng.uniform(0, np.array(volume.image.shape) - 1)
        return grey_values(volume, [int(place[0])], self._grid(place, volume.spacing, rng, _WIDE_SCALE))[0]

    def _add_body(self, part: Cut, volume: Annotated, rng: np.random.Generator) -> None:
        """Draw a dark body that is no mitochondrion, in place."""
        offsets = (np.array(part.slices) - part.slices[part.own]) * volume.spacing[0]
        body = place_body(self.size, self.pixel_nm, offsets, rng)
        if body is None:
            return
        donor = self._donor(part, part.grid[body.rows, body.columns], volume, rng) if rng.random() < 0.4 else None
        draw_body(part.image, body, part.labels[part.own] == 0, self.pixel_nm, offsets, rng, donor)

    def _donor(self, part: Cut, grid: torch.Tensor, volume: Annotated, rng: np.random.Generator) -> np.ndarray | None:
        """(K, H, W) what stands at another place of the volume, the liveliest of a few; None where mitochondria are in the way."""
        best: np.ndarray | None = None
        for _ in range(3):
            place = rng.uniform(0, np.array(volume.image.shape) - 1)
            there = grid - grid.mean((0, 1)) + torch.from_numpy(place[1:].astype(np.float32))
            if sample(volume.labels[int(place[0])][None], there, "nearest").any():
                continue
            shift = int(place[0]) - part.slices[part.own]
            shifted = [int(np.clip(z + shift, 0, len(volume.image) - 1)) for z in part.slices]
            found = grey_values(volume, shifted, there)
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
        slices = self._annotated[which]
        for _ in range(8):  # what is not annotated teaches nothing
            anywhere: np.ndarray = rng.uniform(0, np.array(volume.image.shape) - 1).round()
            anywhere[0] = slices[rng.integers(len(slices))]
            if volume.labels[tuple(anywhere.astype(int))] != UNLABELLED:
                return anywhere
        known = np.argwhere(volume.labels[int(anywhere[0])] != UNLABELLED)
        return np.array([anywhere[0], *known[rng.integers(len(known))]])

    def _grid(self, centre: np.ndarray, spacing: Spacing, rng: np.random.Generator, scale: tuple[float, float]) -> torch.Tensor:
        """(S, S, 2) voxel coordinates (y, x) of each pixel: rotated, flipped and scaled."""
        angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
        step = self.pixel_nm * np.exp(rng.uniform(*np.log(scale)))
        axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        if rng.random() < 0.5:
            axes[1] *= -1
        steps = ((np.arange(self.size) - (self.size - 1) / 2) * step).astype(np.float32)
        along = axes / np.array(spacing[1:])
        offsets = steps[:, None, None] * along[0].astype(np.float32) + steps[None, :, None] * along[1].astype(np.float32)
        return torch.from_numpy(offsets + centre[1:].astype(np.float32))

    def _slices(self, z: int, volume: Annotated, rng: np.random.Generator, wide: bool) -> list[int]:
        """Slice of each channel; a part of the crops plays a thick-sliced volume or a volume with shifted slices."""
        context = np.array(self.context_nm)
        chance = rng.random()
        if chance < 0.25:
            context = 0 * context
        elif wide and chance < 0.6:
            thick = np.exp(rng.uniform(np.log(10), np.log(70)))
            context = np.rint(context / thick) * thick
        elif rng.random() < 0.15:
            context = context * rng.uniform(0.0, 1.6)
        steps = np.rint(context / volume.spacing[0]).astype(int)
        if rng.random() < 0.5:
            steps = -steps
        return [int(np.clip(z + s, 0, len(volume.image) - 1)) for s in steps]


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
    flat = np.flatnonzero(labels > 0)
    if len(flat) > most:
        flat = np.random.default_rng(0).choice(flat, most, replace=False)
    return np.stack(np.unravel_index(flat, labels.shape), axis=1)
