"""Colours of labels: the same label has the same colour in every picture and table."""

from __future__ import annotations

from functools import cache

import numpy as np

SHARED, HERE, THERE, OTHERWISE = "#009e73", "#e69f00", "#56b4e9", "#cc79a7"
"""Colours of what two labellings have alike, what one of both has alone (the first: invented, where the other is the truth; the
second: missed), and what both have as different objects; colour-blind people tell them apart too (Okabe and Ito 2008)."""

_HUES, _TONES = 512, 4


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0..255, of ``#rrggbb``.

    Examples
    --------
    >>> rgb_of(HERE)
    (230, 159, 0)
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


@cache
def _palette() -> np.ndarray:
    """(_HUES * _TONES, 3) float32 sRGB 0..1: all hues at even lightness and chroma in OKLCH (B. Ottosson, 2020).

    Even lightness keeps each label as visible as the next on grey; in plain HSV blue vanishes and yellow glares.
    """
    hue = np.repeat(np.arange(_HUES) * (2 * np.pi / _HUES), _TONES)
    light = np.tile(np.linspace(0.70, 0.86, _TONES), _HUES)
    chroma = 0.15
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        ],
        axis=1,
    ).clip(0, 1)
    palette: np.ndarray = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return palette.astype(np.float32)


def label_colours(labels: np.ndarray) -> np.ndarray:
    """A stable colour for each label.

    Parameters
    ----------
    labels : (...) unsigned
        Labels.

    Returns
    -------
    (..., 3) float32
        RGB 0..1; the same label has the same colour in every picture.
    """
    # Multiplying by the golden ratio of 2^32 (Knuth, TAOCP 6.4) puts consecutive labels far apart on the hue circle.
    flat = np.atleast_1d(labels).astype(np.uint64) & np.uint64(0xFFFFFFFF)
    mixed = (flat * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    hue, tone = (mixed * np.uint64(_HUES)) >> np.uint64(32), mixed & np.uint64(_TONES - 1)
    colours: np.ndarray = _palette()[(hue * np.uint64(_TONES) + tone).astype(np.intp)]
    return colours.reshape((*np.shape(labels), 3))


def hex_colour(label: int) -> str:
    """A label's colour as ``#rrggbb``: the one it has in the pictures."""
    red, green, blue = np.rint(label_colours(np.array(label)) * 255).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"
