"""Answers of predictors, checked: a foreign model that answers wrongly fails its block with one clear line."""

from __future__ import annotations

import numpy as np

from mitoscale.core.errors import BlockError

_ROUNDING = 1e-3
"""Blending windows in half precision may leave 0..1 by this much."""


def checked_foreground(answer: object, shape: tuple[int, ...]) -> np.ndarray:
    """A detector's answer.

    Parameters
    ----------
    answer : (Z, Y, X) float
        Probability 0..1.
    shape : (z, y, x)
        Of the region.

    Returns
    -------
    (Z, Y, X) float32

    Raises
    ------
    BlockError
        If it has another shape, or values that are no probabilities.
    """
    array = _array("foreground", answer, shape)
    within = array.dtype.kind in "fub" and np.isfinite(array).all()
    if not within or array.min(initial=0) < -_ROUNDING or array.max(initial=0) > 1 + _ROUNDING:
        raise BlockError(f"foreground() gave {_described(array)}; probabilities 0..1 are wanted, float32 and without NaN")
    return array.astype(np.float32, copy=False)


def checked_fragments(answer: object, shape: tuple[int, ...]) -> np.ndarray:
    """A volume segmenter's answer.

    Parameters
    ----------
    answer : (Z, Y, X) integer
        Fragments, 0 is background.
    shape : (z, y, x)
        Of the region.

    Returns
    -------
    (Z, Y, X) uint32

    Raises
    ------
    BlockError
        If it has another shape, or is not of whole numbers from 0 to 2^32 - 1.
    """
    array = _array("fragments", answer, shape)
    fits = array.dtype.kind in "ub" and array.dtype.itemsize <= 4  # then there is nothing to look for
    if not fits and (array.dtype.kind not in "iub" or array.min(initial=0) < 0 or array.max(initial=0) >= 2**32):
        raise BlockError(f"fragments() gave {_described(array)}; whole numbers from 0 to 2^32 - 1 are wanted, uint32")
    return array.astype(np.uint32, copy=False)


def checked_masks(answer: object, count: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A mask segmenter's answer.

    Parameters
    ----------
    answer : ((N, Y, X) bool, (N,) float)
        Masks and scores.
    count : int
        N, the number of prompts.
    shape : (y, x)
        Of the slice.

    Returns
    -------
    masks : (N, Y, X) bool
    scores : (N,) float32

    Raises
    ------
    BlockError
        If it is something else.
    """
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise BlockError(f"masks() gave {type(answer).__name__}; a pair is wanted: masks (N, Y, X) and scores (N,)")
    masks, scores = _array("masks", answer[0], (count, *shape)), _array("masks", answer[1], (count,))
    if masks.dtype.kind not in "bui":
        raise BlockError(f"masks() gave {_described(masks)}; masks are wanted as bool: compare with a threshold first")
    if not np.isfinite(scores.astype(np.float64)).all():
        raise BlockError("masks() gave scores that are not finite; numbers are wanted, larger where the mask is better")
    return masks.astype(bool, copy=False), scores.astype(np.float32, copy=False)


def _array(method: str, answer: object, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(answer, np.ndarray):
        raise BlockError(f"{method}() gave {type(answer).__name__}; a NumPy array of shape {shape} is wanted")
    if answer.shape != shape:
        raise BlockError(f"{method}() gave an array of shape {answer.shape}; {shape} is wanted, as of its input")
    return answer


def _described(array: np.ndarray) -> str:
    if array.dtype.kind not in "fiub":
        return f"an array of {array.dtype}"
    return f"{array.dtype} from {array.min(initial=0):g} to {array.max(initial=0):g}"
