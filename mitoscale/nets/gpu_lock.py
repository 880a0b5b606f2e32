"""Several tasks share a worker and its network: one at a time computes on it, while the others read and write.

A worker with a GPU has two or three tasks in hand. Only the network's work is given to it one at a time; reading, linking and
writing of the other tasks go on meanwhile. Predictors from elsewhere are called by one thread at a time altogether,
unless they have an attribute ``concurrent`` that is true.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from mitoscale.core.geometry import Region

if TYPE_CHECKING:
    from mitoscale.ops.masks import Mask
    from mitoscale.ops.prompts import Prompts

_LOCK = threading.Lock()
LOADING = threading.RLock()
"""Held while a network is loaded, so that two tasks that begin at once load it once."""


def gpu_lock(device: str) -> AbstractContextManager[Any]:
    """Held while a GPU is given work; CPU threads need not wait for one another.

    It is released before a task waits for its result, so that the next task's work is queued when the GPU ends this one's.

    Parameters
    ----------
    device : str
        Type of the device: ``cuda`` or ``cpu``.

    Examples
    --------
    >>> with gpu_lock("cuda"):
    ...     _LOCK.locked()
    True
    """
    return _LOCK if device == "cuda" else nullcontext()


class LockedDetector:
    """Calls a detector by one thread at a time."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """See :class:`mitoscale.nets.predictors.Detector`."""
        with _LOCK:
            found: np.ndarray = self._detector.foreground(image, region)
        return found


class LockedMaskSegmenter:
    """Calls a segmenter of slices by one thread at a time."""

    def __init__(self, segmenter: Any) -> None:
        self._segmenter = segmenter

    def masks(
        self, image: np.ndarray, foreground: np.ndarray, prompts: Sequence[Prompts], region: Region
    ) -> Sequence[Sequence[Mask]]:
        """See :class:`mitoscale.nets.predictors.MaskSegmenter`."""
        with _LOCK:
            found: Sequence[Sequence[Mask]] = self._segmenter.masks(image, foreground, prompts, region)
        return found


class LockedVolumeSegmenter:
    """Calls a segmenter of volumes by one thread at a time."""

    def __init__(self, segmenter: Any) -> None:
        self._segmenter = segmenter

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        """See :class:`mitoscale.nets.predictors.VolumeSegmenter`."""
        with _LOCK:
            found: np.ndarray = self._segmenter.fragments(image, foreground, region)
        return found
