"""What SAM is asked for each profile, in network pixels; a profile larger than a window in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mitoscale.nets.mask_decoding import BOX_START, BOX_STOP, NEGATIVE, PADDING, POSITIVE
from mitoscale.ops.prompts import Prompts, interior_point

Ask = Literal["both", "box", "point"]
"""What SAM is given of a profile."""

POINTS = 5
"""Points of a question as SAM gets it: the box's corners, the point inside, and up to two on neighbours."""

_MEANING = {
    "both": (BOX_START, BOX_STOP, POSITIVE),
    "box": (BOX_START, BOX_STOP, PADDING),
    "point": (PADDING, PADDING, POSITIVE),
}
"""What a question's first three points are."""

_LEAST_PART = 100
"""Pixels of a large profile in a cell of its lattice, below which they are left to the neighbouring cells."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked for one profile, in network pixels (y, x) from the volume's origin."""

    profile: int
    """Its number in the slice, from 1."""
    point: tuple[float, float]
    """(y, x) of a pixel inside the profile."""
    box: tuple[float, float, float, float]
    """y0, x0, y1, x1: its first and last pixels."""
    negatives: tuple[tuple[float, float], ...] = ()
    """Points on neighbours."""
    window: tuple[int, int] | None = None
    """First pixel of the window that must be asked; None: any that holds the box."""
    part: bool = False
    """Whether a mask cut by its window is taken as it is: a part, or asked for a second time."""


def points_of(question: Question, ask: Ask, start: tuple[int, int] = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """A question as SAM gets it.

    Parameters
    ----------
    question : Question
        What is asked.
    ask : {"both", "box", "point"}
        What SAM is given of it.
    start : (y, x)
        First pixel of the window that is asked.

    Returns
    -------
    points : (POINTS, 2) float32
        Pixels (y, x) of the window.
    meaning : (POINTS,) int64
        What each is; see :meth:`mitoscale.nets.sam.Sam.decode`.
    """
    points, meaning = np.zeros((POINTS, 2), np.float32), np.full(POINTS, PADDING, np.int64)
    points[0], points[1], points[2] = question.box[:2], question.box[2:], question.point
    meaning[:3] = _MEANING[ask]
    for slot, negative in enumerate(question.negatives, start=3):
        points[slot], meaning[slot] = negative, NEGATIVE
    return points - np.array(start, np.float32), meaning


def questions_of(prompts: Prompts, origin: tuple[int, ...], ratios: tuple[float, ...], size: int, context: int) -> list[Question]:
    """The questions of a slice.

    Parameters
    ----------
    prompts : Prompts
        In pixels of the slice.
    origin : (y, x)
        First pixel of the slice in the volume.
    ratios : (y, x)
        The volume's pixels in a network pixel.
    size : int
        Height and width of a window.
    context : int
        Pixels that a window shows around a box.
    """
    ratio, offset = np.array(ratios), np.array(origin) + 0.5
    points = (np.concatenate([prompts.points, prompts.others]) + offset) / ratio - 0.5
    questions = []
    for i, (y0, x0, y1, x1) in enumerate(prompts.boxes):
        low = (np.array([y0, x0]) + offset) / ratio - 0.5
        high = (np.array([y1, x1]) - 1 + offset) / ratio - 0.5
        if (high - low > size - 2 * context).any():
            crop = prompts.profiles[y0:y1, x0:x1] == i + 1
            questions += _parts(crop, np.array([y0, x0]) + offset, ratio, i + 1, size)
            continue
        near = [
            (float(y), float(x))
            for j, (y, x) in enumerate(points)
            if j != i and (low - 10 <= (y, x)).all() and ((y, x) <= high + 10).all()
        ]
        point = (float(points[i, 0]), float(points[i, 1]))
        box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        questions.append(Question(profile=i + 1, point=point, box=box, negatives=tuple(near[:2])))
    return questions


def _parts(crop: np.ndarray, offset: np.ndarray, ratio: np.ndarray, profile: int, size: int) -> list[Question]:
    """A profile larger than a window: a question for each cell of a lattice that holds a piece of it."""
    rows, columns = ((np.arange(n) + o) / r - 0.5 for n, o, r in zip(crop.shape, offset, ratio, strict=True))
    stride, found = size // 2, []
    for row in np.unique(rows // stride):
        for column in np.unique(columns // stride):
            cell = crop & (rows // stride == row)[:, None] & (columns // stride == column)
            if cell.sum() < _LEAST_PART:
                continue
            start = np.array([row, column]) * stride - (size - stride) // 2
            inside = crop & ((rows >= start[0]) & (rows < start[0] + size))[:, None]
            inside &= (columns >= start[1]) & (columns < start[1] + size)
            y, x = interior_point(cell)
            ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            box = (float(rows[ys[0]]), float(columns[xs[0]]), float(rows[ys[-1]]), float(columns[xs[-1]]))
            point = (float(rows[y]), float(columns[x]))
            window = (int(start[0]), int(start[1]))
            found.append(Question(profile=profile, point=point, box=box, window=window, part=True))
    return found
