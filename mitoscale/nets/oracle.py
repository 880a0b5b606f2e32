"""Predictors that know the truth: for measuring what linking and stitching make of perfect, or of spoilt, answers.

They are made like anyone's (see :mod:`mitoscale.nets.predictors`), and read the truth by ``region``; results that were
computed elsewhere can be given to a run in the same way::

    mitoscale run stack.tif RUN --voxel-size 10,10,10 \\
        --detector mitoscale.nets.oracle:Foreground --detector-option truth=truth.npy \\
        --segmenter mitoscale.nets.oracle:Fragments --segmenter-option truth=truth.npy --segmenter-option strength=0.5
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.ops.instances import connected_parts
from mitoscale.ops.link import link
from mitoscale.ops.masks import Mask, masks_of
from mitoscale.ops.perturb import Mistakes, perturb
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
        return [_known(*plane) for plane in zip(perturb(self.read(region), Mistakes(), seed=0), prompts, strict=True)]


def _known(profiles: np.ndarray, prompts: Prompts) -> list[Mask]:
    """The masks of a slice, from its true profiles (Y, X)."""
    y, x = np.rint(prompts.points).astype(int).T
    hit = profiles[y, x]
    return masks_of((profiles[None] == hit[:, None, None]) & (hit > 0)[:, None, None], np.ones(len(hit)))


class Fragments(Truth):
    """A :class:`mitoscale.nets.predictors.VolumeSegmenter`: true objects, or true profiles with mistakes and then linked.

    Parameters
    ----------
    truth : str
        See :class:`Truth`.
    spacing : str
        Voxel size ``z,y,x`` in nm, which linking asks for.
    strength : str
        0: the connected parts of each object within the region. Above 0, to 1: profiles with mistakes
        (:class:`mitoscale.ops.perturb.Mistakes`), other ones in each block, and linked slice by slice.
    seed : str
        Of the mistakes.
    """

    def __init__(self, truth: str, spacing: str = "10,10,10", strength: str = "0", seed: str = "0") -> None:
        super().__init__(truth)
        z, y, x = map(float, spacing.split(","))
        self.spacing, self.strength, self.seed = (z, y, x), float(strength), int(seed)

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        """(Z, Y, X) uint32 fragments, numbered anew in each region."""
        labels = self.read(region)
        if not self.strength:
            return connected_parts(labels)
        place = np.ravel_multi_index(region.start, self.labels.shape)  # each region makes its own mistakes
        masks = perturb(labels, Mistakes.of_strength(self.strength), seed=self.seed + int(place))
        ends = 2 * (region.start[0] > 0), 2 * (region.stop[0] < self.labels.shape[0])
        return link(masks, self.spacing, open_ends=ends)
