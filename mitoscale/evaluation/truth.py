"""A truth: labels, or a mask of grey values or probabilities that ``--truth-threshold`` makes two-valued."""

from __future__ import annotations

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.source_choices import Reading
from mitoscale.evaluation.label_reading import LabelSource, open_labels
from mitoscale.ops.instances import is_grey_image, is_grey_mask

_JUDGED = 4096
"""Fewer voxels may all lie in one mitochondrion."""

CURE = "give --truth-threshold, such as 127"
"""What to do where a truth holds grey values."""


def open_truth(path: str, threshold: float | None, reading: Reading | None = None) -> LabelSource:
    """Open a truth; with a threshold its values may be real numbers. See :func:`~mitoscale.evaluation.label_reading.open_labels`.

    Parameters
    ----------
    path : str
        Labels, or a mask.
    threshold : float, optional
        Above this is mitochondrion.
    reading : Reading, optional
        What the user has decided of it.

    Raises
    ------
    InputError
        If it cannot be read, holds real numbers and there is no threshold, or can hold no value above the threshold.
    """
    source = open_labels(path, reading, real=threshold is not None, cure="give --truth-threshold, such as 0.5")
    dtype = np.dtype(source.reader.dtype)
    if threshold is not None and dtype.kind != "f":
        most = 1 if dtype.kind == "b" else int(np.iinfo(dtype).max)
        if threshold >= most:
            raise InputError(f"no value of {path} is above --truth-threshold {threshold}: {dtype} ends at {most}; give a lower one")
    return source


def above(values: np.ndarray, threshold: float, name: str, cure: str = "give a lower one") -> np.ndarray:
    """What is above the threshold.

    Parameters
    ----------
    values : ndarray of real numbers or integers
        As they were read.
    threshold : float
        What is not above it is background.
    name, cure : str
        What the values are called, and what to do where none is above.

    Raises
    ------
    InputError
        If a value is not finite, or there are values above 0, but none above the threshold.
    """
    check_finite(name, not_finite(values))
    check_largest(name, float(values.max(initial=0)), threshold, cure)
    mask: np.ndarray = values > threshold
    return mask


def not_finite(values: np.ndarray) -> int:
    """How many values are NaN or infinite."""
    return values.size - int(np.count_nonzero(np.isfinite(values))) if values.dtype.kind == "f" else 0


def check_finite(name: str, bad: float) -> None:
    """Raise where values are NaN or infinite.

    Parameters
    ----------
    name : str
        What the error calls the array.
    bad : float
        A value, NaN or infinite where one of them is.
    """
    if bad:
        raise InputError(f"{name} has {bad:.0f} values that are not finite; replace them by 0, which is background")


def check_largest(name: str, largest: float, threshold: float, cure: str = "give a lower one") -> None:
    """Raise where the largest value is a mask's, not that of an empty one, and is not above the threshold.

    Parameters
    ----------
    name : str
        What the error calls the array.
    largest : float
        Largest value.
    threshold : float
        Above it is a mitochondrion.
    cure : str
        What the error says to do.
    """
    if 0 < largest <= threshold:
        raise InputError(f"no value of {name} is above --truth-threshold {threshold}; its largest is {largest:.7g}: {cure}")


def check_lowest(name: str, lowest: float) -> None:
    """Raise where the lowest value is no label.

    Parameters
    ----------
    name : str
        What the error calls the array.
    lowest : float
        Lowest value.
    """
    if lowest < 0:
        raise InputError(f"{name} holds {lowest:.0f}; labels are 0 (background) and above")


def check_background(name: str, *, voxels: float, background: float, lowest: float, highest: float) -> None:
    """Raise where a truth has no background, or looks inverted.

    Parameters
    ----------
    name : str
        The truth.
    voxels, background : float
        How many there are, and how many are 0.
    lowest, highest : float
        Values of the others.

    Raises
    ------
    InputError
        If there is no 0 among several values, or a mask holds more than it leaves out; a few voxels are not judged.
    """
    if voxels < _JUDGED or not highest:
        return
    low, share = round(lowest), 1 - background / voxels
    if not background and lowest < highest:
        raise InputError(f"{name} holds no 0, which is background: if {low} is, give --truth-threshold {low}, or write it as 0")
    if round(highest) == low and share > 0.5:
        raise InputError(
            f"{name} is mitochondrion in {share:.0%} of its voxels: is it inverted? Write background as 0; if it is right, number "
            "its objects 1, 2, ..."
        )


def check_labels(labels: np.ndarray, name: str, cure: str = CURE) -> None:
    """Raise where an array is neither labels nor a mask.

    Parameters
    ----------
    labels : (...) array
        What should be labels.
    name : str
        What the error calls it.
    cure : str
        What the error says to do.

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
