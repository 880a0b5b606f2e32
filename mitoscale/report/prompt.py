"""A picture of what SAM answered: prompts and masks on the slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mitoscale.evaluation.prompt import Answers
from mitoscale.report.pictures import view


def answers_picture(
    answers: Answers,
    size_nm: tuple[float, float],
    points: Sequence[tuple[int, int]],
    boxes: Sequence[tuple[int, int, int, int]],
) -> np.ndarray:
    """The part of the slice that was looked at, with masks, points (dots) and boxes (frames).

    Parameters
    ----------
    answers : Answers
        What SAM said.
    size_nm : (y, x)
        Pixel size in nm.
    points, boxes : sequences of (y, x) and (y0, x0, y1, x1)
        The prompts, in pixels of the whole slice.

    Returns
    -------
    (H, W, 3) uint8
    """
    offset = np.array(answers.region.start[1:])
    dots = np.array([np.array(p) - offset for p in points], dtype=float).reshape(-1, 2)
    picture = view(answers.image, answers.labels, size_nm, dots if len(dots) else None)
    scale = np.array(picture.shape[:2]) / np.array(answers.image.shape)
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    for box in boxes:
        (y0, x0), (y1, x1) = (np.array(box).reshape(2, 2) - offset) * scale
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline="white", width=max(2, round(max(picture.shape) / 500)))
    return np.asarray(canvas)
