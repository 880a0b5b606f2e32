"""SAM as a segmenter: masks of the slices of a region from their prompts.

Windows lie on a lattice anchored at the volume's origin, half overlapping; each prompt goes to the window whose middle is nearest,
and only windows with prompts are encoded. A profile larger than that is asked for in parts, one a window, which share its number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mitoscale.core.geometry import Region, Spacing
from mitoscale.nets.device import autocast
from mitoscale.nets.gpu_lock import turn
from mitoscale.nets.sam import BOX_START, BOX_STOP, NEGATIVE, PADDING, POSITIVE, Sam
from mitoscale.ops.masks import Mask
from mitoscale.ops.prompts import Prompts, interior_point
from mitoscale.ops.resample import coarse_range, interpolation, mirrored, to_network

_STABILITY_OFFSET = 1.0
"""Logits above and below 0 between which a stable mask hardly changes (Kirillov et al. 2023, appendix)."""


Ask = Literal["both", "box", "point"]
"""What SAM is given of a profile."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is asked of one window for one profile, in network pixels of the whole slice."""

    profile: int
    point: tuple[float, float]
    box: tuple[float, float, float, float]
    negatives: tuple[tuple[float, float], ...]


_MEANING = {
    "both": (BOX_START, BOX_STOP, POSITIVE),
    "box": (BOX_START, BOX_STOP, PADDING),
    "point": (PADDING, PADDING, POSITIVE),
}


class SamSegmenter:
    """Masks of all slices of a region.

    Parameters
    ----------
    model : Sam
        The network, on its device and in evaluation mode.
    pixel_nm : float or None
        Pixel size it works at; None: the volume's own.
    spacing : (z, y, x)
        Voxel size of the volume in nm.
    batch : int
        Windows encoded at once.
    ask : {"both", "box", "point"}
        Give SAM each profile's box, a point inside it, or both; negative points on neighbours in each case. With a point
        alone the best-scored of its three masks counts.
    """

    def __init__(self, model: Sam, *, pixel_nm: float | None, spacing: Spacing, batch: int = 16, ask: Ask = "both") -> None:
        self.model = model
        self.ask = ask
        self.ratios = tuple((pixel_nm or s) / s for s in spacing[1:])
        self.size = model.config.image_size
        self.stride = self.size // 2
        self.batch = batch

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Sequence[Prompts], region: Region) -> list[list[Mask]]:
        """See :meth:`mitoscale.nets.predictors.MaskSegmenter.masks`; a profile larger than a window has several masks.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        foreground : (Z, Y, X) float32
            Foreground probability 0..1.
        prompts : sequence of Prompts
            Of each slice.
        region : Region
            The level-0 voxels it covers.

        Returns
        -------
        list of lists of Mask
            Of each slice, with logits; the score is predicted IoU x stability x mean foreground probability.
        """
        origin = region.start[1:]
        return [self._slice(*plane, origin) for plane in zip(image, foreground, prompts, strict=True)]

    def _slice(self, image: np.ndarray, foreground: np.ndarray, prompts: Prompts, origin: tuple[int, ...]) -> list[Mask]:
        """The masks of one slice."""
        if len(prompts) == 0:
            return []
        network, first = self._to_network(image, origin)
        parts = self._parts(prompts, origin)
        windows = sorted(parts)
        found: list[Mask] = []
        for start in range(0, len(windows), self.batch):
            chosen = windows[start : start + self.batch]
            crops = np.stack([_window(network, y - first[0], x - first[1], self.size) for y, x in chosen])
            logits, scores = self._forward(crops, [parts[w] for w in chosen], chosen)
            index = 0
            for window in chosen:
                for part in parts[window]:
                    mask = self._crop(logits[index], float(scores[index]), window, part.profile, origin, foreground)
                    if mask is not None:
                        found.append(mask)
                    index += 1
        return found

    def _to_network(self, image: np.ndarray, origin: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, int]]:
        """The slice as (H, W) float32 network pixels, and the lattice place of its first one."""
        weights, first = [], []
        for start, length, ratio in zip(origin, image.shape, self.ratios, strict=True):
            weights.append(to_network(start, start + length, ratio))
            first.append(coarse_range(start, start + length, ratio)[0])
        values = image.astype(np.float32)
        if any(r != 1.0 for r in self.ratios):
            values = weights[0] @ values @ weights[1].T
        return values, (first[0], first[1])

    def _parts(self, prompts: Prompts, origin: tuple[int, ...]) -> dict[tuple[int, int], list[_Part]]:
        """For each window (its first network pixel) what is asked of it."""
        ratio = np.array(self.ratios)
        offset = np.array(origin) + 0.5
        points = (prompts.points + offset) / ratio - 0.5
        parts: dict[tuple[int, int], list[_Part]] = defaultdict(list)
        for i, (y0, x0, y1, x1) in enumerate(prompts.boxes):
            low = (np.array([y0, x0]) + offset) / ratio - 0.5
            high = (np.array([y1, x1]) - 1 + offset) / ratio - 0.5
            window = self._window_of((low + high) / 2)
            if ((low >= window) & (high < np.array(window) + self.size)).all():
                near = [
                    (float(y), float(x))
                    for j, (y, x) in enumerate(points)
                    if j != i and (low - 10 <= (y, x)).all() and ((y, x) <= high + 10).all()
                ]
                point = (float(points[i, 0]), float(points[i, 1]))
                box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
                parts[window].append(_Part(profile=i + 1, point=point, box=box, negatives=tuple(near[:2])))
            else:
                crop = prompts.profiles[y0:y1, x0:x1] == i + 1
                self._split(crop, np.array([y0, x0]) + offset, i + 1, parts)
        return parts

    def _split(self, crop: np.ndarray, offset: np.ndarray, profile: int, parts: dict[tuple[int, int], list[_Part]]) -> None:
        """Ask for a profile larger than a window in parts: one for each lattice cell that holds a piece of it."""
        ratio = np.array(self.ratios)
        rows, columns = ((np.arange(n) + o) / r - 0.5 for n, o, r in zip(crop.shape, offset, ratio, strict=True))
        for row in np.unique(rows // self.stride):
            for column in np.unique(columns // self.stride):
                cell = crop & (rows // self.stride == row)[:, None] & (columns // self.stride == column)
                if cell.sum() < 100:
                    continue
                window = self._window_of(np.array([row + 0.5, column + 0.5]) * self.stride)
                inside = crop & ((rows >= window[0]) & (rows < window[0] + self.size))[:, None]
                inside &= (columns >= window[1]) & (columns < window[1] + self.size)
                y, x = interior_point(cell)
                ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
                box = (float(rows[ys[0]]), float(columns[xs[0]]), float(rows[ys[-1]]), float(columns[xs[-1]]))
                parts[window].append(_Part(profile=profile, point=(float(rows[y]), float(columns[x])), box=box, negatives=()))

    def _window_of(self, middle: np.ndarray) -> tuple[int, int]:
        """First network pixel of the lattice window whose middle is nearest."""
        y, x = (int(np.floor(v / self.stride)) * self.stride - (self.size - self.stride) // 2 for v in middle)
        return y, x

    def _forward(
        self, crops: np.ndarray, parts: list[list[_Part]], windows: list[tuple[int, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(P, h, w) logits of the mask that counts and (P,) its predicted IoU."""
        count = sum(map(len, parts))
        points = np.zeros((count, 5, 2), np.float32)
        meaning = np.full((count, 5), PADDING, np.int64)
        which = np.zeros(count, np.int64)
        index = 0
        for w, (window, asked) in enumerate(zip(windows, parts, strict=True)):
            for part in asked:
                which[index] = w
                points[index, 0], points[index, 1], points[index, 2] = part.box[:2], part.box[2:], part.point
                meaning[index, :3] = _MEANING[self.ask]
                for slot, negative in enumerate(part.negatives, start=3):
                    points[index, slot], meaning[index, slot] = negative, NEGATIVE
                points[index] -= window
                index += 1
        where = next(self.model.parameters()).device
        with torch.inference_mode(), autocast(where), turn(where.type):
            embeddings = self.model.encode(torch.from_numpy(crops).to(where))
            masks, ious = self.model.decode(
                embeddings,
                torch.from_numpy(which).to(where),
                torch.from_numpy(points).to(where),
                torch.from_numpy(meaning).to(where),
            )
        chosen = ious[:, 1:].float().argmax(1) + 1 if self.ask == "point" else torch.zeros_like(ious[:, 0], dtype=torch.int64)
        each = torch.arange(len(ious), device=ious.device)
        return masks[each, chosen].float().cpu().numpy(), ious[each, chosen].float().cpu().numpy()

    def _crop(
        self,
        logits: np.ndarray,
        score: float,
        window: tuple[int, int],
        profile: int,
        origin: tuple[int, ...],
        foreground: np.ndarray,
    ) -> Mask | None:
        """The mask in the slice's pixels: only its own box is upsampled."""
        inside = logits > -_STABILITY_OFFSET
        if not (logits > 0).any():
            return None
        cell = self.size / logits.shape[0]
        bounds, weights = [], []
        for axis, (start, length, ratio) in enumerate(zip(origin, foreground.shape, self.ratios, strict=True)):
            hit = np.flatnonzero(inside.any(1 - axis))
            low = (window[axis] + (hit[0] - 1) * cell) * ratio - start
            high = (window[axis] + (hit[-1] + 2) * cell) * ratio - start
            a, b = max(0, int(np.floor(low))), min(length, int(np.ceil(high)))
            if a >= b:
                return None
            pixels = np.arange(a, b) + 0.5 + start
            bounds.append(a)
            weights.append(interpolation(pixels, window[axis] * ratio, cell * ratio, logits.shape[axis]))
        values = weights[0] @ logits @ weights[1].T
        mask = values > 0
        if not mask.any():
            return None
        stability = (values > _STABILITY_OFFSET).sum() / max((values > -_STABILITY_OFFSET).sum(), 1)
        height, width = mask.shape
        there = foreground[bounds[0] : bounds[0] + height, bounds[1] : bounds[1] + width]
        agreement = float(there[mask].mean())
        total = float(np.clip(score, 0, 1)) * float(stability) * agreement
        return Mask(y0=bounds[0], x0=bounds[1], mask=mask, logits=values, score=total, profile=profile)


def _window(image: np.ndarray, y: int, x: int, size: int) -> np.ndarray:
    """(size, size) cut at (y, x); what lies beyond the image is mirrored."""
    rows, columns = (mirrored(start, size, n) for start, n in zip((y, x), image.shape, strict=True))
    return image[np.ix_(rows, columns)]
