"""How far beyond a block a U-Net must see: the measured influence of a window's edge, not the theoretical field of view.

The deepest level's pixel is the natural measure: ``benchmarks/unet_margin.py`` finds how far from an edge answers still change.
This module imports no torch: a plan needs it.
"""

from __future__ import annotations

from contextlib import suppress

from mitoscale.core.geometry import Spacing
from mitoscale.nets.named_weights import carried

_DEEPEST_PIXELS = 2.0
"""Pixels of the deepest level within which the edge of a window is felt."""

_NEIGHBOUR_NM = 10.0
"""Thickest slice whose neighbours' answers are averaged with its own."""


def margin_pixels(stride: int) -> int:
    """Network pixels that a window must reach beyond what is wanted.

    Examples
    --------
    >>> margin_pixels(32)
    64
    """
    return round(_DEEPEST_PIXELS * stride)


def margin_nm(name: str) -> Spacing | None:
    """How far (z, y, x), in nm, a U-Net's blocks must be read beyond their core; None where the weights do not tell.

    In z its context and a neighbour; in y and x the margin in whole strides, as a window on the lattice has it.

    Parameters
    ----------
    name : str
        Embedded weights by name, or a weights file by path.
    """
    card = carried(name)
    with suppress(KeyError, ValueError, TypeError, AttributeError):
        config, pixel = card["config"], card["pixel_nm"]
        y, x = pixel if isinstance(pixel, list) else (pixel, pixel)
        stride = int(config.get("fold", 1)) * 2 ** (len(config["widths"]) - 1)
        reach = -(-margin_pixels(stride) // stride) * stride
        return max(map(abs, config["context_nm"])) + _NEIGHBOUR_NM, float(reach * y), float(reach * x)
    return None
