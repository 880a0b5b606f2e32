"""The protocols of detectors and segmenters.

Anyone's model can stand in. ``--detector pkg.module:factory`` calls ``factory(**options)`` once in each worker, with the
``--detector-option NAME=VALUE`` as keywords (values are text), and asks what it returns for the foreground of each block;
``--segmenter pkg.module:factory`` likewise. The package must be importable where workers run. A whole example, for a network
that tells foreground and membranes apart::

    # lab_net.py
    import numpy as np
    import torch
    from lab_unet import UNet3D  # the lab's own architecture
    from scipy import ndimage
    from skimage.segmentation import watershed

    class LabNet:
        def __init__(self, weights, device="cpu", threshold="0.5"):
            self.net = UNet3D().to(device).eval()
            self.net.load_state_dict(torch.load(weights, map_location=device, weights_only=True))
            self.device, self.threshold = device, float(threshold)  # options come as text

        def predict(self, image):  # (Z, Y, X) uint8, dark membranes, contrast stretched to 0..255 over the whole volume
            batch = torch.from_numpy(image)[None, None].to(self.device).float() / 255
            with torch.inference_mode():
                return self.net(batch)[0].cpu().numpy()  # (2, Z, Y, X) float32: foreground and membrane, 0..1

        def foreground(self, image, region):  # makes it a detector
            return self.predict(image)[0]

        def fragments(self, image, foreground, region):  # makes it a segmenter of volumes
            inside = (foreground >= self.threshold) & (self.predict(image)[1] < 0.5)
            seeds, _ = ndimage.label(inside)
            return watershed(-foreground, seeds, mask=foreground >= self.threshold).astype(np.uint32)

    # mitoscale run stack.tif RUN --voxel-size 8,8,8 --detector lab_net:LabNet --detector-option weights=/models/lab.pt \
    #     --segmenter lab_net:LabNet --segmenter-option weights=/models/lab.pt

A model of slices gets prompts, and wraps itself where it answers one slice at a time::

    # lab_sam.py
    import numpy as np
    from mitoscale.nets.each_slice import EachSlice
    from scipy import ndimage

    class DarkAroundPoint:
        def masks(self, image, foreground, prompts, region):  # a slice (Y, X); N prompts: points, boxes, profiles
            labels, _ = ndimage.label(image < 100)
            hit = [labels[tuple(point)] for point in np.rint(prompts.points).astype(int)]
            masks = [(labels == n) & (n > 0) for n in hit]
            return np.array(masks), np.ones(len(masks), np.float32)  # (N, Y, X) bool and (N,) scores

    def factory(**options):
        return EachSlice(DarkAroundPoint())

    # mitoscale run stack.tif RUN --voxel-size 8,8,8 --segmenter lab_sam:factory

What must hold: answers depend on the arguments alone (a block may be computed twice, anywhere, and neighbours compare what both
have read), shapes are those of the input, and a wrong answer fails the block with a line that says what was wanted. ``region``
tells where in the volume the block lies, so precomputed results can be read by it (see :mod:`mitoscale.nets.oracle`). What the
factory returns is called by one thread at a time unless it says ``concurrent = True``. How one is made
from its name stands in :mod:`mitoscale.nets.factories`; neither module imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from mitoscale.core.geometry import Region

if TYPE_CHECKING:
    from mitoscale.ops.masks import Mask
    from mitoscale.ops.prompts import Prompts


@runtime_checkable
class Detector(Protocol):
    """Finds foreground."""

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """Foreground probability of a read region.

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


class CoreForeground(NamedTuple):
    """Foreground of a block's core, and what it took."""

    foreground: np.ndarray
    """(Z, Y, X) uint8: probability 0..1 as 0..255."""
    counts: Mapping[str, float]
    """For the ledger; see :class:`mitoscale.core.result.BlockResult`."""


@runtime_checkable
class CoreDetector(Protocol):
    """A detector that computes no more than a block's core needs, and counts what it computes."""

    def core_foreground(self, image: np.ndarray, region: Region, core: Region) -> CoreForeground:
        """Foreground of a core.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        region : Region
            The level-0 voxels it covers.
        core : Region
            The part of it that is wanted.
        """


@runtime_checkable
class MaskSegmenter(Protocol):
    """Answers prompts with masks, for all slices of a region at once.

    One that answers slice by slice is made into such by :class:`mitoscale.nets.each_slice.EachSlice`.
    """

    def masks(
        self, image: np.ndarray, foreground: np.ndarray, prompts: Sequence[Prompts], region: Region
    ) -> Sequence[Sequence[Mask]]:
        """Masks of a read region.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        foreground : (Z, Y, X) float32
            Foreground probability 0..1.
        prompts : sequence of Prompts
            Z in all: the prompts of each slice, none where there is nothing to ask. ``profiles`` may hold more than is asked for.
        region : Region
            The level-0 voxels it covers.

        Returns
        -------
        sequence of sequences of Mask
            Z in all: the masks of each slice, as crops; ``Mask.profile`` says which prompt one answers (the first is 1). A
            prompt may have none, or several that are parts of one thing. :func:`mitoscale.ops.masks.masks_of` makes the crops.
        """


@runtime_checkable
class Counting(Protocol):
    """A segmenter that tells what it took; the embedded ones do."""

    @property
    def counts(self) -> Mapping[str, float]:
        """What it has computed since it was made, for the ledger; see :class:`mitoscale.core.result.BlockResult`."""


@runtime_checkable
class VolumeSegmenter(Protocol):
    """Segments a whole read region at once (a 3D model)."""

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        """Fragments of a read region.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        foreground : (Z, Y, X) float32
            Foreground probability 0..1.
        region : Region
            The level-0 voxels it covers.

        Returns
        -------
        (Z, Y, X) uint32
            0 is background.
        """
