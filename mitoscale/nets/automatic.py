"""SAM's automatic mask generation, window by window: a grid of points is asked for, and good masks stay.

The generator is the segment-anything package's own (``SamAutomaticMaskGenerator``), on this project's model of any size. What it
cuts off at a window's edge, behind which the slice goes on, is asked for again by a point, from a window that holds it whole, or
dropped where no window does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam as OfficialSam

from mitoscale.core.geometry import Region, Spacing
from mitoscale.nets.sam import Sam
from mitoscale.nets.sam_segmenter import SamSegmenter
from mitoscale.ops.masks import Mask, suppress
from mitoscale.ops.overlapping_ranges import overlapping_ranges
from mitoscale.ops.prompts import Prompts, interior_point
from mitoscale.ops.resample import to_network

PIXELS_PER_POINT = 32
"""Distance of the grid's points in pixels: what the package's own 32 points are on a window of 1024."""

LEAST = {"small": (0.5, 0.65), "official": (0.88, 0.95)}
"""Predicted IoU and stability that a mask needs to stay. Those of the official sizes are the package's own; the small SAM is far
less sure of itself away from an object's middle (seen on slices that chose its weights too)."""


_EDGE = 4
"""A mask that comes this near (pixels) to an edge of its window is cut by it: a cell of SAM's own mask has four pixels."""


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
        self.least_score = least_iou * least_stability
        self.asker = SamSegmenter(model, pixel_nm=pixel_nm, spacing=spacing, ask="point")
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
        cut: list[Mask] = []
        for y, _ in overlapping_ranges(network.shape[0], self.size, self.size // 4):
            for x, _ in overlapping_ranges(network.shape[1], self.size, self.size // 4):
                window = network[y : y + self.size, x : x + self.size]
                for answer in self._generate(window):
                    placed = self._placed(answer["segmentation"], (y, x), image.shape)
                    score = float(answer["predicted_iou"]) * float(answer["stability_score"])
                    if placed is not None:
                        y0, x0, crop = placed
                        here = cut if _is_cut(answer["segmentation"], (y, x), network.shape) else found
                        here.append(Mask(y0=y0, x0=x0, mask=crop, score=score, profile=len(here) + 1))
        found += self._again(image, [cut[i] for i in suppress(cut, iou=0.5, iom=0.8)])
        return [replace(mask, profile=i) for i, mask in enumerate(found, start=1)]

    def _again(self, image: np.ndarray, cut: list[Mask]) -> list[Mask]:
        """What cut masks are parts of, each asked for by a point in a window around it; without those that are cut again."""
        if not cut:
            return []
        profiles, points = np.zeros(image.shape, np.int32), np.zeros((len(cut), 2), np.float32)
        boxes = np.zeros((len(cut), 4), np.int32)
        for i, mask in enumerate(cut):
            (y, x), (height, width) = interior_point(mask.mask), mask.mask.shape
            points[i], boxes[i] = (mask.y0 + y, mask.x0 + x), (mask.y0, mask.x0, mask.y0 + height, mask.x0 + width)
            profiles[mask.slices][mask.mask] = i + 1
        prompts, region = Prompts(profiles=profiles, points=points, boxes=boxes), Region.of_shape((1, *image.shape))
        (answers,) = self.asker.masks(image[None], np.zeros((1, *image.shape), np.float32), [prompts], region)
        largest = [(self.size - 2 * _EDGE) * ratio for ratio in self.ratios]
        whole = [m for m in answers if all(n < most for n, most in zip(m.mask.shape, largest, strict=True))]
        # The score is SAM's alone, so that only what the generator would have kept stays.
        return [replace(m, logits=None) for m in whole if m.score >= self.least_score]

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


def _is_cut(mask: np.ndarray, start: tuple[int, int], shape: tuple[int, ...]) -> bool:
    """Whether a window's mask meets an edge behind which the slice, of ``shape`` network pixels, goes on."""
    cut = False
    for axis, (first, length) in enumerate(zip(start, shape, strict=True)):
        inside = np.flatnonzero(mask.any(1 - axis))
        size = mask.shape[axis]
        cut |= first > 0 and bool((inside < _EDGE).any())
        cut |= first + size < length and bool((inside >= size - _EDGE).any())
    return cut
