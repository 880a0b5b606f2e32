"""SAM's automatic mask generation, window by window: a grid of points is asked for, and good masks stay.

The generator is the segment-anything package's own (``SamAutomaticMaskGenerator``), on this project's model of any size.
"""

from __future__ import annotations

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam as OfficialSam

from mitoscale.core.geometry import Spacing
from mitoscale.nets.sam import Sam
from mitoscale.ops.masks import Mask
from mitoscale.ops.resample import to_network

PIXELS_PER_POINT = 32
"""Distance of the grid's points in pixels: what the package's own 32 points are on a window of 1024."""

LEAST = {"small": (0.5, 0.65), "official": (0.88, 0.95)}
"""Predicted IoU and stability that a mask needs to stay. Those of the official sizes are the package's own; the small SAM is far
less sure of itself away from an object's middle (seen on slices that chose its weights too)."""


class AutomaticMasks:
    """Finds masks of everything in a slice.

    Parameters
    ----------
    model : Sam
        The network, on its device and in evaluation mode.
    pixel_nm : float or None
        Pixel size it works at; None: the volume's own.
    spacing : (z, y, x)
        Voxel size of the volume in nm.
    """

    def __init__(self, model: Sam, *, pixel_nm: float | None, spacing: Spacing) -> None:
        self.size = model.config.image_size
        self.ratios = tuple((pixel_nm or s) / s for s in spacing[1:])
        official = OfficialSam(model.image_encoder, model.prompt_encoder, model.mask_decoder)
        official.eval().to(next(model.parameters()).device)
        least_iou, least_stability = LEAST["official" if self.size >= 1024 else "small"]
        self.generator = SamAutomaticMaskGenerator(
            official,
            points_per_side=self.size // PIXELS_PER_POINT,
            pred_iou_thresh=least_iou,
            stability_score_thresh=least_stability,
        )

    def masks(self, image: np.ndarray) -> list[Mask]:
        """Masks of a slice; those of overlapping windows may repeat.

        Parameters
        ----------
        image : (Y, X) uint8
            Normalised slice.

        Returns
        -------
        list of Mask
            Each with a number of its own; the score is predicted IoU times stability.
        """
        weights = [to_network(0, n, r) for n, r in zip(image.shape, self.ratios, strict=True)]
        values = image.astype(np.float32)
        if any(r != 1.0 for r in self.ratios):
            values = weights[0] @ values @ weights[1].T
        network = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        found: list[Mask] = []
        for y in _starts(network.shape[0], self.size):
            for x in _starts(network.shape[1], self.size):
                window = network[y : y + self.size, x : x + self.size]
                for answer in self._generate(window):
                    mask = self._placed(answer["segmentation"], (y, x), image.shape)
                    score = float(answer["predicted_iou"]) * float(answer["stability_score"])
                    if mask is not None:
                        y0, x0, crop = mask
                        found.append(Mask(y0=y0, x0=x0, mask=crop, score=score, profile=len(found) + 1))
        return found

    def _generate(self, window: np.ndarray) -> list[dict[str, np.ndarray]]:
        """The generator's answers for a window; one that the slice does not fill is filled up with its mirror image."""
        height, width = window.shape
        full = np.pad(window, ((0, self.size - height), (0, self.size - width)), mode="symmetric")
        with torch.inference_mode():  # in float32: the package cannot turn bfloat16 into NumPy arrays
            answers: list[dict[str, np.ndarray]] = self.generator.generate(np.repeat(full[..., None], 3, axis=2))
        return [answer | {"segmentation": answer["segmentation"][:height, :width]} for answer in answers]

    def _placed(self, mask: np.ndarray, start: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int, np.ndarray] | None:
        """First row and column and crop, in the slice's own pixels, of a window's mask."""
        bounds, index = [], []
        for axis, (first, length, ratio) in enumerate(zip(start, shape, self.ratios, strict=True)):
            hit = np.flatnonzero(mask.any(1 - axis))
            if not len(hit):
                return None
            a = max(0, int(np.floor((first + hit[0]) * ratio)))
            b = min(length, int(np.ceil((first + hit[-1] + 1) * ratio)))
            inside = ((np.arange(a, b) + 0.5) / ratio).astype(int) - first
            bounds.append(a)
            index.append(np.clip(inside, 0, mask.shape[axis] - 1))
        crop = mask[np.ix_(*index)]
        return (bounds[0], bounds[1], crop) if crop.any() else None


def _starts(length: int, size: int) -> list[int]:
    """First pixels of windows that cover ``length`` and overlap by a quarter or more."""
    if length <= size:
        return [0]
    count = -(-(length - size) // (size * 3 // 4)) + 1
    return [round(i * (length - size) / (count - 1)) for i in range(count)]
