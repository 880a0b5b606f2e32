"""SAM as a segmenter: masks of the slices of a region from their prompts.

Each slice gets as few windows as hold all that is asked for in it whole (:mod:`mitoscale.ops.window_cover`); slices without prompts
get none. The windows of all slices form one stream of batches, and the prompts of a batch are decoded together. A mask that is cut
by its window is asked for again from one around it; a profile larger than a window in parts, which share its number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mitoscale.core.geometry import Region, Spacing
from mitoscale.nets.device import autocast
from mitoscale.nets.gpu_lock import gpu_lock
from mitoscale.nets.sam import Sam
from mitoscale.nets.sam_questions import Ask, Question, points_of, questions_of
from mitoscale.ops.masks import Mask
from mitoscale.ops.prompts import Prompts
from mitoscale.ops.resample import coarse_range, interpolation, mirrored, to_network
from mitoscale.ops.window_cover import centred, cover

_STABILITY_OFFSET = 1.0
"""Logits above and below 0 between which a stable mask hardly changes (Kirillov et al. 2023, appendix)."""

_BATCH_PIXELS = {"cpu": 2**20, "cuda": 2**22}
"""Pixels of windows that are encoded at once, by type of device."""

_BATCH_TOKENS = 2**18
"""Image tokens that are decoded at once: each prompt has those of a window of its own."""


@dataclass(frozen=True, kw_only=True)
class _Window:
    """A window of a slice, and what is asked of it."""

    z: int
    start: tuple[int, int]
    """First network pixel (y, x), counted from the volume's origin."""
    questions: list[Question]


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What came back for a question."""

    logits: np.ndarray
    """(h, w) float32: the part of the window's low-resolution logits that holds the mask."""
    corner: tuple[int, int]
    """First cell (y, x) of that part."""
    score: float
    """Predicted IoU."""


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
    ask : {"both", "box", "point"}
        Give SAM each profile's box, a point inside it, or both; negative points on neighbours in each case. With a point
        alone the best-scored of its three masks counts.
    """

    def __init__(self, model: Sam, *, pixel_nm: float | None, spacing: Spacing, ask: Ask = "both") -> None:
        self.model = model
        self.ask = ask
        self.ratios = tuple((pixel_nm or s) / s for s in spacing[1:])
        self.size = model.config.image_size
        self.context = self.size // 16
        self.device = next(model.parameters()).device
        self._pixels, self._seconds = 0, 0.0

    @property
    def counts(self) -> dict[str, float]:
        """See :class:`mitoscale.nets.predictors.Counting`: what the image encoder has computed, and the time of both networks."""
        return {"network_pixels": float(self._pixels), "network_seconds": self._seconds}

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Sequence[Prompts], region: Region) -> list[list[Mask]]:
        """See :meth:`mitoscale.nets.predictors.MaskSegmenter.masks`; a profile larger than a window has several masks.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        foreground : (Z, Y, X) float32
            Not looked at.
        prompts : sequence of Prompts
            Of each slice.
        region : Region
            The level-0 voxels it covers.

        Returns
        -------
        list of lists of Mask
            Of each slice, with logits; the score is predicted IoU x stability.
        """
        origin = region.start[1:]
        ranges = [coarse_range(o, o + n, r) for o, n, r in zip(origin, image.shape[1:], self.ratios, strict=True)]
        bounds = np.array(ranges).T
        found: list[list[Mask]] = [[] for _ in prompts]
        windows: list[_Window] = []
        for z, asked in enumerate(prompts):
            windows += self._windows(z, questions_of(asked, origin, self.ratios, self.size, self.context), bounds)
        again: list[_Window] = []
        for last in (False, True):
            for window, question, answer in self._answers(image, origin, bounds, windows):
                if not last and not question.part and self._is_cut(answer, window.start, bounds):
                    again.append(self._around(window, question, answer, bounds))
                    continue
                mask = self._mask(answer, window.start, question.profile, origin, image.shape[1:])
                if mask is not None:
                    found[window.z].append(mask)
            windows = sorted(again, key=lambda w: w.z)
        return [sorted(plane, key=lambda m: (m.profile, m.y0, m.x0)) for plane in found]

    def _windows(self, z: int, questions: list[Question], bounds: np.ndarray) -> Iterator[_Window]:
        """The windows of a slice: first those of large profiles, which say where they lie, then as few as hold the rest."""
        fixed: dict[tuple[int, int], list[Question]] = {}
        for question in questions:
            if question.window is not None:
                fixed.setdefault(question.window, []).append(question)
        rest = []
        for question in (q for q in questions if q.window is None):
            box = np.array(question.box)
            for start, there in fixed.items():
                if (box[:2] - self.context >= start).all() and (box[2:] + self.context < np.array(start) + self.size).all():
                    there.append(question)
                    break
            else:
                rest.append(question)
        yield from (_Window(z=z, start=start, questions=there) for start, there in fixed.items())
        if rest:
            for window in cover(np.array([q.box for q in rest]), self.size, self.context, bounds):
                yield _Window(z=z, start=window.start, questions=[rest[i] for i in window.boxes])

    def _is_cut(self, answer: _Answer, start: tuple[int, int], bounds: np.ndarray) -> bool:
        """Whether a mask meets an edge of its window behind which the image goes on."""
        if not answer.logits.size:
            return False
        low = np.array(answer.corner)
        high = low + answer.logits.shape
        cells = 4 * self.size // self.model.config.patch_size
        first = np.array(start)
        return bool((((low == 0) & (first > bounds[0])) | ((high == cells) & (first + self.size < bounds[1]))).any())

    def _around(self, window: _Window, question: Question, answer: _Answer, bounds: np.ndarray) -> _Window:
        """A window in whose middle a cut mask and its prompt lie."""
        cell = self.model.config.patch_size / 4
        low = np.minimum(np.array(window.start) + np.array(answer.corner) * cell, question.box[:2])
        high = np.maximum(np.array(window.start) + (np.array(answer.corner) + answer.logits.shape) * cell, question.box[2:])
        if (high - low > self.size - 2 * self.context).any():  # larger than a window: the prompt itself in the middle
            low, high = np.array(question.box[:2]), np.array(question.box[2:])
        start = centred(low, high, self.size, bounds)
        return _Window(z=window.z, start=start, questions=[replace(question, part=True)])

    def _answers(
        self, image: np.ndarray, origin: tuple[int, ...], bounds: np.ndarray, windows: Sequence[_Window]
    ) -> Iterator[tuple[_Window, Question, _Answer]]:
        """All questions with their answers, batch by batch."""
        batch = max(1, _BATCH_PIXELS.get(self.device.type, 2**20) // self.size**2)
        z, network = -1, np.zeros((0, 0), np.float32)
        for first in range(0, len(windows), batch):
            chosen = windows[first : first + batch]
            crops = np.empty((len(chosen), self.size, self.size), np.float32)
            for i, window in enumerate(chosen):
                if window.z != z:
                    z, network = window.z, self._to_network(image[window.z], origin)
                crops[i] = _cut(network, window.start[0] - bounds[0, 0], window.start[1] - bounds[0, 1], self.size)
            asked = [(i, question) for i, window in enumerate(chosen) for question in window.questions]
            for (i, question), answer in zip(asked, self._forward(crops, chosen, asked), strict=True):
                yield chosen[i], question, answer

    def _to_network(self, image: np.ndarray, origin: tuple[int, ...]) -> np.ndarray:
        """The slice as (H, W) float32 network pixels."""
        values = image.astype(np.float32)
        if all(r == 1.0 for r in self.ratios):
            return values
        rows, columns = (to_network(o, o + n, r) for o, n, r in zip(origin, image.shape, self.ratios, strict=True))
        return rows @ values @ columns.T

    def _forward(self, crops: np.ndarray, windows: Sequence[_Window], asked: Sequence[tuple[int, Question]]) -> list[_Answer]:
        """Encode windows, and decode all that is asked of them."""
        written = [points_of(question, self.ask, windows[i].start) for i, question in asked]
        points, meaning = (np.stack(kind) for kind in zip(*written, strict=True))
        which = np.array([i for i, _ in asked])
        self._pixels += crops.size
        at_once = max(1, _BATCH_TOKENS // (self.size // self.model.config.patch_size) ** 2)
        answers: list[_Answer] = []
        began = time.perf_counter()
        with torch.inference_mode(), autocast(self.device), gpu_lock(self.device.type):
            embeddings = self.model.encode(torch.from_numpy(crops).to(self.device))
            for first in range(0, len(asked), at_once):
                part = slice(first, first + at_once)
                given = (torch.from_numpy(a[part]).to(self.device) for a in (which, points, meaning))
                masks, ious = self.model.decode(embeddings, *given)
                answers += _chosen(masks, ious.float(), alone=self.ask == "point")
        self._seconds += time.perf_counter() - began
        return answers

    def _mask(
        self, answer: _Answer, window: tuple[int, int], profile: int, origin: tuple[int, ...], shape: tuple[int, ...]
    ) -> Mask | None:
        """The mask in the slice's pixels: only its own box is upsampled."""
        if not (answer.logits > 0).any():
            return None
        cell = self.model.config.patch_size / 4
        bounds, weights = [], []
        for axis, (start, length, ratio) in enumerate(zip(origin, shape, self.ratios, strict=True)):
            first, count = window[axis] + answer.corner[axis] * cell, answer.logits.shape[axis]
            a = max(0, int(np.floor((first - cell) * ratio - start)))
            b = min(length, int(np.ceil((first + (count + 1) * cell) * ratio - start)))
            if a >= b:
                return None
            bounds.append(a)
            weights.append(interpolation(np.arange(a, b) + 0.5 + start, first * ratio, cell * ratio, count))
        values = weights[0] @ answer.logits @ weights[1].T
        mask = values > 0
        if not mask.any():
            return None
        stability = (values > _STABILITY_OFFSET).sum() / max((values > -_STABILITY_OFFSET).sum(), 1)
        score = float(np.clip(answer.score, 0, 1)) * float(stability)
        return Mask(y0=bounds[0], x0=bounds[1], mask=mask, logits=values, score=score, profile=profile)


def _chosen(masks: torch.Tensor, ious: torch.Tensor, *, alone: bool) -> list[_Answer]:
    """The mask that counts of each prompt, chosen on the device; only its box comes back, all boxes in one transfer."""
    each = torch.arange(len(ious), device=ious.device)
    best = ious[:, 1:].argmax(1) + 1 if alone else torch.zeros_like(each)
    logits, scores = masks[each, best].float(), ious[each, best].cpu().numpy()
    inside = logits > -_STABILITY_OFFSET
    sides = [along.cpu().numpy() for along in (inside.any(2), inside.any(1))]
    # One more cell on each side, for the interpolation.
    boxes = [(_around(rows), _around(columns)) for rows, columns in zip(*sides, strict=True)]
    parts = [plane[y0:y1, x0:x1] for plane, ((y0, y1), (x0, x1)) in zip(logits, boxes, strict=True)]
    flat = torch.cat([part.reshape(-1) for part in parts]).cpu().numpy()
    ends = np.cumsum([0, *(part.numel() for part in parts)])
    return [
        _Answer(logits=flat[a:b].reshape(part.shape), corner=(y0, x0), score=float(score))
        for part, a, b, ((y0, _), (x0, _)), score in zip(parts, ends[:-1], ends[1:], boxes, scores, strict=True)
    ]


def _around(inside: np.ndarray) -> tuple[int, int]:
    """First and last + 1 of the True ones and one more on each side, within the array; (0, 0) where there are none."""
    where = np.flatnonzero(inside)
    return (max(0, int(where[0]) - 1), min(len(inside), int(where[-1]) + 2)) if len(where) else (0, 0)


def _cut(image: np.ndarray, y: int, x: int, size: int) -> np.ndarray:
    """(size, size) cut at (y, x); what lies beyond the image is mirrored."""
    rows, columns = (mirrored(start, size, n) for start, n in zip((y, x), image.shape, strict=True))
    return image[np.ix_(rows, columns)]
