"""The scale bar of a picture."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
"""Comes with Matplotlib and has a µ."""

_SMALLEST = 64
"""A picture with an edge of fewer pixels has no room for a bar."""


def scale_bar(picture: np.ndarray, pixel_nm: float) -> np.ndarray:
    """A copy with a labelled scale bar in the lower left corner; unchanged where the picture is too small for one.

    Parameters
    ----------
    picture : (H, W, 3) uint8
        With square pixels.
    pixel_nm : float
        Edge of a pixel in nm.

    Returns
    -------
    (H, W, 3) uint8
    """
    height, width = picture.shape[:2]
    if min(height, width) < _SMALLEST:
        return picture
    length_nm = _round_length(0.2 * width * pixel_nm)
    size = max(11, min(max(height, width) // 42, min(height, width) // 14))
    bar, thick, pad = round(length_nm / pixel_nm), max(2, size // 5), size // 2
    text = f"{length_nm / 1000:g} µm" if length_nm >= 1000 else f"{length_nm:g} nm"
    font = ImageFont.truetype(str(FONT), size)
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    left, bottom = 2 * pad, height - 2 * pad
    inner = max(bar, math.ceil(draw.textlength(text, font=font)))
    draw.rounded_rectangle(
        (left - pad, bottom - size - 2 * pad - thick, left + inner + pad, bottom + pad),
        radius=pad // 2,
        fill=(12, 16, 22, 150),
    )
    draw.text((left, bottom - thick - pad // 2), text, font=font, fill="white", anchor="ls")
    draw.rectangle((left, bottom - thick + 1, left + bar - 1, bottom), fill="white")
    return np.asarray(canvas)


def _round_length(most_nm: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten up to ``most_nm``."""
    power = 10.0 ** math.floor(math.log10(most_nm))
    return max(m * power for m in (1, 2, 5) if m * power <= most_nm * (1 + 1e-9))
