"""A model that answers one slice at a time, as a segmenter of regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.nets.validate import checked_slice_masks
from mitoscale.ops.masks import Mask, masks_of
from mitoscale.ops.prompts import Prompts


class EachSlice:
    """A :class:`mitoscale.nets.predictors.MaskSegmenter` that asks a model slice by slice.

    Parameters
    ----------
    model
        Has ``masks(image, foreground, prompts, region)`` for one slice: (Y, X) uint8 image, (Y, X) float32 foreground, its N
        prompts, and the region of this slice; it gives masks (N, Y, X) bool, possibly empty, and scores (N,). Slices without
        prompts are not asked for. An attribute ``concurrent`` of the model counts here, too.

    Examples
    --------
    >>> class Lab:
    ...     def masks(self, image, foreground, prompts, region):
    ...         return np.stack([prompts.profiles == i + 1 for i in range(len(prompts))]), np.ones(len(prompts))
    >>> from mitoscale.ops.prompts import prompts_from_profiles
    >>> stack = np.pad(np.ones((1, 2, 3), np.int32), ((0, 1), (1, 1), (1, 1)))
    >>> prompts = [prompts_from_profiles(plane) for plane in stack]
    >>> found = EachSlice(Lab()).masks(stack.astype(np.uint8), stack * 1.0, prompts, Region.of_shape(stack.shape))
    >>> [[mask.mask.shape for mask in plane] for plane in found]
    [[(2, 3)], []]
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.concurrent = bool(getattr(model, "concurrent", False))

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Sequence[Prompts], region: Region) -> list[list[Mask]]:
        """See :class:`mitoscale.nets.predictors.MaskSegmenter`."""
        found: list[list[Mask]] = []
        for z, asked in enumerate(prompts):
            if not len(asked):
                found.append([])
                continue
            start, stop = region.start[0] + z, region.start[0] + z + 1
            plane = Region(start=(start, *region.start[1:]), stop=(stop, *region.stop[1:]))
            answer = self._model.masks(image[z], foreground[z], asked, plane)
            found.append(masks_of(*checked_slice_masks(answer, len(asked), plane.shape[1:])))
        return found
