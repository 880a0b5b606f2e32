"""Predictors that know the truth, given through the same options as anyone's: ``--detector known_truth:detector``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.core.errors import DamagedError
from mitoscale.core.geometry import Region
from mitoscale.nets.each_slice import EachSlice
from mitoscale.ops.prompts import Prompts


def fails_at(file: Path | None, region: Region, *, otherwise: bool) -> bool:
    """Whether a predictor shall fail at a region: the file, while it is there, holds that region as text, or nothing."""
    if file is None or not file.exists():
        return False
    return file.read_text() == str(region) if file.read_text() else otherwise


class KnownForeground:
    """Says 1 where the truth has an object."""

    def __init__(self, truth: str, fails: str = "") -> None:
        self.truth = np.load(truth, mmap_mode="r")
        self.fails = Path(fails) if fails else None

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """See :class:`mitoscale.nets.predictors.Detector`.

        While the file ``fails`` is there it fails where the file says, or at the top.
        """
        assert image.dtype == np.uint8 and image.shape == region.shape
        if fails_at(self.fails, region, otherwise=region.start[0] == 0):
            raise RuntimeError("this block is beyond me")
        return (self.truth[region.slices] > 0).astype(np.float32)


class KnownFragments:
    """Says what objects there are; numbers them anew in each block, as a network would."""

    def __init__(self, truth: str, seconds: str = "0", fails: str = "", unreadable: str = "") -> None:
        self.unreadable = unreadable
        self.truth = np.load(truth, mmap_mode="r")
        self.seconds = float(seconds)
        self.fails = Path(fails) if fails else None

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        """See :class:`mitoscale.nets.predictors.VolumeSegmenter`; takes at least ``seconds``.

        While the file ``fails`` is there it fails where the file says, or where the region ends at slice 16.
        Where ``unreadable`` names a block, that block's foreground passes for damaged each time it is read.
        """
        if self.unreadable:
            raise DamagedError("detect", self.unreadable, "nothing is there")
        time.sleep(self.seconds)
        if fails_at(self.fails, region, otherwise=region.stop[0] == 16):
            raise RuntimeError("this block is beyond me")
        _, local = np.unique(self.truth[region.slices], return_inverse=True)
        # Where an object fills the whole region there is no background to be number 0.
        local = local.reshape(region.shape) + (1 if self.truth[region.slices].all() else 0)
        return local.astype(np.uint32)


class KnownMasks:
    """Answers each prompt with the slice of the object it lies on."""

    def __init__(self, truth: str) -> None:
        self.truth = np.load(truth, mmap_mode="r")

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Prompts, region: Region) -> tuple[np.ndarray, np.ndarray]:
        """One slice's masks; see :class:`mitoscale.nets.each_slice.EachSlice`."""
        plane = self.truth[region.slices][0]
        assert plane.shape == image.shape == foreground.shape
        points = np.rint(prompts.points).astype(int)
        labels = plane[points[:, 0], points[:, 1]]
        masks = (plane[None] == labels[:, None, None]) & (labels > 0)[:, None, None]
        return masks, np.ones(len(labels), np.float32)


def detector(**options: Any) -> KnownForeground:
    """A detector."""
    return KnownForeground(**options)


def segmenter(**options: Any) -> KnownFragments:
    """A segmenter of volumes."""
    return KnownFragments(**options)


def masks(**options: Any) -> EachSlice:
    """A segmenter of slices."""
    return EachSlice(KnownMasks(**options))


def neither() -> object:
    """No predictor at all."""
    return object()
