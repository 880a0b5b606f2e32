"""How much of a slice the windows of a SAM show, told without loading it.

This module imports no torch: a plan needs it.
"""

from __future__ import annotations

from contextlib import suppress

from mitoscale.core.geometry import Spacing
from mitoscale.core.settings import SegmentSettings
from mitoscale.nets.named_weights import carried

_OFFICIAL = 1024
"""Pixels (y, x) of a window of Meta's SAMs and of all that are built like them."""


def window_nm(settings: SegmentSettings, spacing: Spacing) -> tuple[float, float]:
    """Height and width, in nm, that a segmenter sees at once; 0 where it is no SAM.

    Parameters
    ----------
    settings : SegmentSettings
        Name and pixel size of the segmenter. That its weights can be read is checked elsewhere.
    spacing : (z, y, x)
        Voxel size of the volume in nm, at which a SAM works that has no pixel size of its own.
    """
    if settings.segmenter != "sam":
        return 0.0, 0.0
    size, own = _window_of(settings.sam)
    pixel = settings.sam_pixel_nm or own
    return (size * pixel, size * pixel) if pixel else (size * spacing[1], size * spacing[2])


def _window_of(name: str) -> tuple[int, float | None]:
    """Pixels of a window, and their size in nm, as weights tell them."""
    card = carried(name)
    with suppress(KeyError, ValueError, TypeError):
        return int(card["config"]["image_size"]), None if card["pixel_nm"] is None else float(card["pixel_nm"])
    return _OFFICIAL, None
