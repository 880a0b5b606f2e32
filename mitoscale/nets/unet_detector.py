"""The U-Net as a detector: foreground probability of a read region, at the volume's own pixels."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import torch

from mitoscale.core.geometry import Region, Spacing
from mitoscale.nets.device import autocast
from mitoscale.nets.gpu_lock import turn
from mitoscale.nets.predictors import CoreForeground
from mitoscale.nets.unet import UNet
from mitoscale.ops.resample import coarse_range, from_network, to_network

_PHASE = 64
"""Windows of a cut slice begin at multiples of this, which every usual stride divides."""

_LARGEST = 1536
"""Largest window edge in network pixels; a larger slice is cut into windows that overlap."""


class UNetDetector:
    """Runs a U-Net slice by slice over a read region.

    The window is the block's whole slice, so there is nothing to blend inside a block unless the slice is very large.

    Parameters
    ----------
    model : UNet
        The network, on its device and in evaluation mode.
    pixel_nm : float, or (y, x)
        Pixel size it was trained at.
    spacing : (z, y, x)
        Voxel size of the volume in nm.
    batch_pixels : int
        Pixels of the first level computed at once.
    mirror : bool
        Average with the prediction of the slice turned round: better, and half as fast.
    """

    def __init__(
        self,
        model: UNet,
        *,
        pixel_nm: float | tuple[float, float],
        spacing: Spacing,
        batch_pixels: int = 600_000,
        mirror: bool = False,
    ) -> None:
        self.model = model
        self.spacing = spacing
        pixels = pixel_nm if isinstance(pixel_nm, tuple) else (pixel_nm, pixel_nm)
        self.ratios = (pixels[0] / spacing[1], pixels[1] / spacing[2])
        self.steps = tuple(round(d / spacing[0]) for d in model.config.context_nm)
        self.batch_pixels = batch_pixels * model.config.fold**2
        self.mirror = mirror

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """Foreground probability.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        region : Region
            The level-0 voxels it covers.

        Returns
        -------
        (Z, Y, X) float32
            Probability 0..1.
        """
        return self.probability(image, range(len(image)), origin=region.start[1:])

    def core_foreground(self, image: np.ndarray, region: Region, core: Region) -> CoreForeground:
        """See :class:`mitoscale.nets.predictors.CoreDetector`."""
        began, counter = time.perf_counter(), _Counter()
        probability = self._probability(image, list(range(len(image))), region.start[1:], counter)
        found = np.rint(np.clip(probability[core.within(region)], 0, 1) * 255).astype(np.uint8)
        return CoreForeground(found, {"network_pixels": counter.pixels, "network_seconds": time.perf_counter() - began})

    def probability(self, image: np.ndarray, chosen: Iterable[int], origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Foreground probability of chosen slices; see :meth:`foreground`.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised volume or part of one.
        chosen : iterable of int
            Slices wanted.
        origin : (y, x)
            Level-0 voxel of the first pixel, which anchors the resampling.

        Returns
        -------
        (len(chosen), Y, X) float32
        """
        return self._probability(image, list(chosen), origin, _Counter())

    def _probability(self, image: np.ndarray, slices: list[int], origin: tuple[int, int], counter: _Counter) -> np.ndarray:
        down, up = [], []
        for start, length, ratio in zip(origin, image.shape[1:], self.ratios, strict=True):
            down.append(torch.from_numpy(to_network(start, start + length, ratio)))
            up.append(torch.from_numpy(from_network(start, start + length, ratio)))
        height, width = len(down[0]), len(down[1])
        # Pooling has a phase too: windows begin at a multiple of the stride, counted from the volume's origin.
        lead = tuple(
            coarse_range(start, start + 1, ratio)[0] % self.model.stride for start, ratio in zip(origin, self.ratios, strict=True)
        )
        batch = max(1, self.batch_pixels // (height * width))
        needed = sorted({min(max(z + s, 0), len(image) - 1) for z in slices for s in self.steps})
        place = {z: i for i, z in enumerate(needed)}
        small = torch.empty((len(needed), height, width), dtype=torch.float32)
        for i, z in enumerate(needed):
            small[i] = down[0] @ torch.from_numpy(image[z].astype(np.float32) / 255.0) @ down[1].T
        result = np.empty((len(slices), *image.shape[1:]), np.float32)
        for start in range(0, len(slices), batch):
            part = slices[start : start + batch]
            index = [[place[min(max(z + s, 0), len(image) - 1)] for s in self.steps] for z in part]
            probability = self._windows(small[torch.tensor(index)], lead, counter)
            for i, p in enumerate(probability):
                result[start + i] = (up[0] @ p @ up[1].T).numpy()
        return result

    def _windows(self, image: torch.Tensor, lead: tuple[int, ...], counter: _Counter) -> torch.Tensor:
        """(N, H, W) probability of (N, C, H, W) images: whole, or in overlapping windows where they are very large."""
        image = torch.nn.functional.pad(image, (lead[1], 0, lead[0], 0), mode="replicate")
        return self._cut(image, counter)[:, lead[0] :, lead[1] :]

    def _cut(self, image: torch.Tensor, counter: _Counter) -> torch.Tensor:
        height, width = image.shape[-2:]
        if max(height, width) <= _LARGEST:
            return self._forward(image, counter)
        overlap = 8 * self.model.stride
        total = torch.zeros((len(image), height, width))
        weight = torch.zeros((height, width))
        for y0, y1 in _cuts(height, _LARGEST, overlap):
            for x0, x1 in _cuts(width, _LARGEST, overlap):
                ramp = torch.outer(_ramp(y1 - y0, overlap), _ramp(x1 - x0, overlap))
                total[:, y0:y1, x0:x1] += self._forward(image[..., y0:y1, x0:x1], counter) * ramp
                weight[y0:y1, x0:x1] += ramp
        return total / weight

    def _forward(self, image: torch.Tensor, counter: _Counter) -> torch.Tensor:
        """(N, H, W) probability on the CPU; the edge is mirrored up to a multiple of the network's stride."""
        height, width = image.shape[-2:]
        stride = self.model.stride
        padded = torch.nn.functional.pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")
        device = next(self.model.parameters()).device
        padded = padded.to(device, memory_format=torch.channels_last)
        with torch.inference_mode(), autocast(device), turn(device.type):
            counter.add(padded)
            probability = self.model(padded).float().sigmoid()
            if self.mirror:  # the padded size is a multiple of the stride, so pooling keeps its phase when turned round
                counter.add(padded)
                turned = self.model(padded.flip(-2, -1)).float().sigmoid()
                probability = (probability + turned.flip(-2, -1)) / 2
        return probability[:, 0, :height, :width].cpu()


class _Counter:
    """Pixels that went through the network; one a call, because threads share detectors."""

    def __init__(self) -> None:
        self.pixels = 0

    def add(self, image: torch.Tensor) -> None:
        """(N, C, H, W) are passed through it."""
        self.pixels += len(image) * image.shape[2] * image.shape[3]


def _cuts(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Ranges of ``size`` with at least ``overlap`` in common that cover ``0 .. length``."""
    if length <= size:
        return [(0, length)]
    count = -(-(length - overlap) // (size - overlap))
    starts = [i * (length - size) // (count - 1) // _PHASE * _PHASE for i in range(count)]
    return [(s, s + size) for s in starts[:-1]] + [(starts[-1], length)]


def _ramp(length: int, overlap: int) -> torch.Tensor:
    """(length,) weights that rise over ``overlap`` pixels from both ends."""
    distance = torch.minimum(torch.arange(length) + 1, length - torch.arange(length))
    return (distance / overlap).clamp(max=1.0)
