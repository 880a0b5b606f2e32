"""A truth: labels, or a mask of grey values that ``--truth-threshold`` makes two-valued."""

from __future__ import annotations

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.ops.instances import is_grey_image, is_grey_mask

CURE = "give --truth-threshold, such as 127"
"""What to do where a truth holds grey values."""


def check_lowest(name: str, lowest: float) -> None:
    """Raise where the lowest value is no label."""
    if lowest < 0:
        raise InputError(f"{name} holds {lowest:.0f}; labels are 0 (background) and above")


def check_labels(labels: np.ndarray, name: str, cure: str = CURE) -> None:
    """Raise where an array is neither labels nor a mask.

    Raises
    ------
    InputError
        If it holds negative values, is a mask with softened borders, or a grey image.
    """
    if labels.dtype.kind == "i":
        check_lowest(name, int(labels.min(initial=0)))
    if is_grey_mask(labels):
        raise InputError(f"{name} is a mask with grey values between 0 and 255: {cure}")
    if is_grey_image(labels):
        raise InputError(f"{name} looks like a grey image, not labels; if it is a mask, {cure}")
