"""Predictors that know the truth: for measuring what linking and stitching make of perfect answers.

They are made like anyone's (see :mod:`mitoscale.nets.predictors`), and read the truth by ``region``; results that were
computed elsewhere can be given to a run in the same way::

    mitoscale run stack.tif RUN --voxel-size 10,10,10 \\
        --detector mitoscale.nets.oracle:Foreground --detector-option truth=truth.npy \\
        --segmenter mitoscale.nets.oracle:Fragments --segmenter-option truth=truth.npy
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.ops.instances import connected_parts
from mitoscale.ops.masks import Mask, masks_of
from mitoscale.ops.prompts import Prompts


class Truth:
    """A label volume on disk, of which only what is asked for is read.

    Parameters
    ----------
    truth : str
        ``.npy`` file (Z, Y, X) of integers that covers the whole volume; 0 is background.

    Raises
    ------
    InputError
        If it cannot be read, or is no such array.
    """

    def __init__(self, truth: str) -> None:
        try:
            self.labels = np.load(truth, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise InputError(f"truth {truth} cannot be read ({error}); save it with numpy.save") from error
        if self.labels.ndim != 3 or self.labels.dtype.kind not in "iu":
            raise InputError(f"truth {truth} is {self.labels.dtype} of shape {self.labels.shape}; (Z, Y, X) integers are wanted")

    def read(self, region: Region) -> np.ndarray:
        """(Z, Y, X) labels of a region.

        Raises
        ------
        InputError
            If the truth does not cover it.
        """
        part = np.array(self.labels[region.slices])  # a copy: what is memory-mapped cannot be written, which cc3d wants
        if part.shape != region.shape:
            raise InputError(f"the truth has shape {self.labels.shape}, it does not cover {region}; is it of another volume?")
        return part


class Foreground(Truth):
    """A :class:`mitoscale.nets.predictors.Detector` that says 1 where the truth has an object."""

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """(Z, Y, X) float32, 0 or 1."""
        return (self.read(region) > 0).astype(np.float32)


class Masks(Truth):
    """A :class:`mitoscale.nets.predictors.MaskSegmenter` that answers each prompt with the profile that its point lies on."""

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Sequence[Prompts], region: Region) -> list[list[Mask]]:
        """Of each slice a mask with score 1 for each prompt; none where a point lies on nothing."""
        return [_known(*plane) for plane in zip(self.read(region), prompts, strict=True)]


def _known(labels: np.ndarray, prompts: Prompts) -> list[Mask]:
    """The masks of a slice, from its true labels (Y, X): the 8-connected part of the label that each point lies on."""
    profiles = connected_parts(labels[None])[0]
    y, x = np.rint(prompts.points).astype(int).T
    hit = profiles[y, x]
    return masks_of((profiles[None] == hit[:, None, None]) & (hit > 0)[:, None, None], np.ones(len(hit)))


class Fragments(Truth):
    """A :class:`mitoscale.nets.predictors.VolumeSegmenter`: the connected parts of each true object within the region."""

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        """(Z, Y, X) uint32 fragments, numbered anew in each region."""
        return connected_parts(self.read(region))
