"""The U-Net as a detector: foreground probability of a block, computed where the network is.

A block's grey values go to the device once, as uint8, and its foreground comes back once, as uint8; resampling, the network,
blending, averaging and rounding happen there. What is computed together depends on the block alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing
from mitoscale.nets.blending import blended
from mitoscale.nets.block_window import WindowAxis, same_size, window_axis
from mitoscale.nets.checkpoint import load_unet
from mitoscale.nets.device import autocast
from mitoscale.nets.device_work import DeviceClock, batch_pixels, from_device, to_device
from mitoscale.nets.gpu_lock import gpu_lock
from mitoscale.nets.margin import margin_pixels
from mitoscale.nets.predictors import CoreForeground
from mitoscale.nets.unet import UNet, folded_normalisation

ORIENTATIONS: tuple[tuple[int, ...], ...] = ((), (-2, -1), (-1,), (-2,))
"""Axes along which a slice is turned round for the network; slice z takes number z modulo 4."""

THIN_NM = 10.0
"""Where slices are at most this thick, each is averaged with its neighbours, which the network saw in other orientations."""


class UNetDetector:
    """Runs a U-Net slice by slice over a block.

    Where slices are thin, each is seen in one of four orientations, and a slice counts twice beside its two neighbours: that does
    what computing each slice in several orientations does, at the price of one. The window is the block's whole slice, so there
    is nothing to blend inside a block unless the slice is very large.

    Parameters
    ----------
    model : UNet
        The network, on its device and in evaluation mode.
    pixel_nm : float, or (y, x)
        Pixel size it was trained at.
    spacing : (z, y, x)
        Voxel size of the volume in nm.
    batch : int, optional
        Network pixels computed at once; without it what suits the device.
    mirror : bool
        Compute each slice a second time turned round, and average: half as fast.
    """

    def __init__(
        self,
        model: UNet,
        *,
        pixel_nm: float | tuple[float, float],
        spacing: Spacing,
        batch: int | None = None,
        mirror: bool = False,
    ) -> None:
        self.model = model
        self.spacing = spacing
        pixels = pixel_nm if isinstance(pixel_nm, tuple) else (pixel_nm, pixel_nm)
        self.ratios = (same_size(pixels[0] / spacing[1]), same_size(pixels[1] / spacing[2]))
        self.steps = tuple(round(d / spacing[0]) for d in model.config.context_nm)
        self.device = next(model.parameters()).device
        self.batch = batch or batch_pixels(self.device) * model.config.fold**2
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
        work = _Work(self, image, region, region)
        found = np.zeros(region.shape, np.float32)
        with torch.inference_mode(), gpu_lock(self.device.type):
            tissue = work.tissue(range(len(image)))
            if tissue:
                found[tissue] = from_device(work.averaged(tissue))()
        return found

    def core_foreground(self, image: np.ndarray, region: Region, core: Region) -> CoreForeground:
        """See :class:`mitoscale.nets.predictors.CoreDetector`; slices whose core is of one grey value never reach the network."""
        work = _Work(self, image, region, core)
        inside = core.within(region)[0]
        tissue = work.tissue(range(inside.start, inside.stop))
        found = np.zeros(core.shape, np.uint8)
        clock = DeviceClock(self.device)
        if tissue:
            with torch.inference_mode(), gpu_lock(self.device.type), clock:
                result = from_device(work.averaged(tissue).mul_(255).round_().to(torch.uint8))
            found[[z - inside.start for z in tissue]] = result()  # waits for the device, while another task may give it work
        flat = core.shape[0] - len(tissue)
        counts = {
            "network_pixels": float(work.pixels),
            "network_seconds": clock.seconds(),
            "flat_voxels": float(flat * core.shape[1] * core.shape[2]),
            "flat_blocks": float(not tissue),
        }
        return CoreForeground(found, counts)

    def probability(self, image: np.ndarray, chosen: Iterable[int], origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """What the network by itself says of chosen slices, as they are and without their neighbours' answers.

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
        region = Region.of_shape(image.shape).shifted((0, *origin))
        work = _Work(self, image, region, region)
        with torch.inference_mode(), gpu_lock(self.device.type):
            return from_device(work.network(list(chosen), turned=False))()


def detector_on_cpu(name: str, spacing: Spacing) -> UNetDetector:
    """A U-Net that leaves a GPU alone: for a few windows, in a process beside the workers.

    Parameters
    ----------
    name : str
        Embedded weights by name, or a weights file by path.
    spacing : (z, y, x)
        Voxel size of the volume in nm.

    Raises
    ------
    InputError
        If the weights are unknown, unreadable, or do not tell their pixel size.
    """
    model, card = load_unet(name)
    if card.pixel_nm is None:
        raise InputError(f"weights {name} do not tell their pixel size")
    return UNetDetector(folded_normalisation(model), pixel_nm=card.pixel_nm, spacing=spacing)


class _Work:
    """One block's way through the network; one a call, because threads share the network."""

    def __init__(self, detector: UNetDetector, image: np.ndarray, region: Region, core: Region) -> None:
        self.detector, self.image = detector, image
        self.pixels = 0
        """Network pixels so far."""
        self.first = region.start[0]
        _, self.y, self.x = core.within(region)
        stride = detector.model.stride
        margin = margin_pixels(stride)
        axes = zip((1, 2), detector.ratios, strict=True)
        self.axes: list[WindowAxis] = [
            window_axis((region.start[a], region.stop[a]), (core.start[a], core.stop[a]), ratio=ratio, stride=stride, margin=margin)
            for a, ratio in axes
        ]

    def tissue(self, slices: Iterable[int]) -> list[int]:
        """Those of some slices of the read region that are of more than one grey value over the core."""
        planes = ((z, self.image[z, self.y, self.x]) for z in slices)
        return [z for z, plane in planes if plane.min() != plane.max()]

    def averaged(self, slices: list[int]) -> torch.Tensor:
        """(len(slices), Y, X) float32 probability, each with its neighbours' where slices are thin."""
        if self.detector.spacing[0] > THIN_NM:
            return self.network(slices, turned=False)
        near = sorted({n for z in slices for n in (z - 1, z, z + 1) if 0 <= n < len(self.image)})
        wanted = set(slices)
        known = [n for n in near if n in wanted or self.tissue([n])]
        found = self.network(known, turned=True)
        place = {z: i for i, z in enumerate(known)}
        own, before, behind = (
            torch.tensor([place.get(z + step, place[z]) for z in slices], device=found.device) for step in (0, -1, 1)
        )
        return (2 * found[own] + found[before] + found[behind]) / 4

    def network(self, slices: Sequence[int], *, turned: bool) -> torch.Tensor:
        """(len(slices), Y, X) float32 probability; ``turned``: each slice in the orientation of its place in the volume."""
        detector = self.detector
        last = len(self.image) - 1
        context = [[min(max(z + s, 0), last) for s in detector.steps] for z in slices]
        needed = sorted({z for zs in context for z in zs})
        small = self._resampled(needed)
        place = {z: i for i, z in enumerate(needed)}
        height, width = (axis.size for axis in self.axes)
        batch = max(1, detector.batch // (height * width))
        shape = (self.y.stop - self.y.start, self.x.stop - self.x.start)
        result = torch.empty((len(slices), *shape), device=small.device)
        for number, axes in enumerate(ORIENTATIONS if turned else ORIENTATIONS[:1]):
            group = [i for i, z in enumerate(slices) if not turned or (self.first + z) % len(ORIENTATIONS) == number]
            for start in range(0, len(group), batch):
                part = group[start : start + batch]
                index = torch.tensor([[place[z] for z in context[i]] for i in part], device=small.device)
                result[torch.tensor(part, device=small.device)] = self._wanted(self._forward(small[index], axes))
        return result

    def _resampled(self, slices: list[int]) -> torch.Tensor:
        """(len(slices), H, W) of the window: uint8 as they are, or float32 0..255 at the network's pixels."""
        whole = slices == list(range(slices[0], slices[-1] + 1))
        grey = to_device(self.image[slices[0] : slices[-1] + 1] if whole else self.image[slices], self.detector.device)
        y, x = self.axes
        for dim, axis in ((1, y), (2, x)):
            if axis.down is None:
                grey = _cut(grey, dim, axis.pixels)
        down = [None if axis.down is None else torch.from_numpy(axis.down).to(grey.device) for axis in self.axes]
        if all(weights is None for weights in down):
            return grey
        small = torch.empty((len(slices), y.size, x.size), device=grey.device)
        for i, plane in enumerate(grey):  # one by one: float32 of a whole block would be large
            rows = plane.float() if down[0] is None else down[0] @ plane.float()
            small[i] = rows if down[1] is None else rows @ down[1].T
        return small

    def _forward(self, image: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        """(N, H, W) float32 probability of (N, C, H, W) grey values, turned round along some axes for the network."""
        passes = [axes]
        if self.detector.mirror:
            passes.append(tuple({-2, -1} ^ set(axes)))
        total = None
        for turned in passes:
            one = blended(self._once, image.flip(turned) if turned else image, self.detector.model.stride)
            one = one.flip(turned) if turned else one
            total = one if total is None else total + one
        assert total is not None
        return total / len(passes) if len(passes) > 1 else total

    def _once(self, image: torch.Tensor) -> torch.Tensor:
        self.pixels += len(image) * image.shape[-2] * image.shape[-1]
        grey = image.to(torch.float32, memory_format=torch.channels_last, copy=True).div_(255)
        with autocast(grey.device):
            logits: torch.Tensor = self.detector.model(grey)
        return logits[:, 0].float().sigmoid()

    def _wanted(self, found: torch.Tensor) -> torch.Tensor:
        """(N, Y, X) of the core, at the volume's pixels, from (N, H, W) of the window."""
        y, x = self.axes
        found = found[:, y.wanted] if y.up is None else torch.from_numpy(y.up).to(found.device) @ found
        return found[..., x.wanted] if x.up is None else found @ torch.from_numpy(x.up).to(found.device).T


def _cut(grey: torch.Tensor, dim: int, pixels: np.ndarray) -> torch.Tensor:
    """The pixels of a window along one axis; without a copy where none is repeated."""
    first, last = int(pixels[0]), int(pixels[-1])
    if last - first + 1 == len(pixels):
        return grey.narrow(dim, first, len(pixels))
    return grey.index_select(dim, torch.from_numpy(pixels).to(grey.device))
