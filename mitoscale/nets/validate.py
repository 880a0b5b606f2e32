"""Answers of predictors, checked: a foreign model that answers wrongly fails its block with one clear line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mitoscale.core.errors import BlockError
from mitoscale.core.geometry import Region
from mitoscale.nets.predictors import MaskSegmenter
from mitoscale.ops.masks import Mask
from mitoscale.ops.prompts import Prompts

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


def ask_masks(
    segmenter: MaskSegmenter, image: np.ndarray, foreground: np.ndarray, prompts: Sequence[Prompts], region: Region
) -> Sequence[Sequence[Mask]]:
    """A mask segmenter's answer, checked.

    Parameters
    ----------
    segmenter : MaskSegmenter
        Anyone's.
    image, foreground, prompts, region
        See :meth:`mitoscale.nets.predictors.MaskSegmenter.masks`.

    Returns
    -------
    sequence of sequences of Mask

    Raises
    ------
    BlockError
        If it is something else, or the segmenter is made for one slice at a time.
    """
    try:
        answer: object = segmenter.masks(image, foreground, prompts, region)
    except AttributeError as error:
        if error.obj is prompts:  # prompts.points, .boxes, .profiles: one slice's
            raise BlockError(f"masks() failed ({error}): {_ALL_SLICES}") from error
        raise
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], np.ndarray):
        raise BlockError(f"masks() gave a pair of arrays: {_ALL_SLICES}")
    if not isinstance(answer, Sequence) or len(answer) != len(prompts):
        given = f"{len(answer)} lists" if isinstance(answer, Sequence) else type(answer).__name__
        raise BlockError(f"masks() gave {given}; a list of Mask for each of {len(prompts)} slices is wanted")
    for plane, asked in zip(answer, prompts, strict=True):
        for mask in plane:
            _check_mask(mask, len(asked), image.shape[1:])
    return answer


_ALL_SLICES = (
    "it gets all slices of a region and gives a list of Mask for each; for a model of single slices let the factory return "
    "mitoscale.nets.each_slice.EachSlice(model)"
)


def _check_mask(mask: object, count: int, shape: tuple[int, ...]) -> None:
    """Raise unless it is a mask of one of ``count`` prompts that lies within the slice."""
    if not isinstance(mask, Mask):
        raise BlockError(f"masks() gave {type(mask).__name__}; mitoscale.ops.masks.Mask is wanted, masks_of makes them")
    if not isinstance(mask.mask, np.ndarray) or mask.mask.dtype != bool or mask.mask.ndim != 2:
        raise BlockError("masks() gave a Mask whose crop is no (H, W) array of bool; compare with a threshold first")
    height, width = mask.mask.shape
    if not (0 <= mask.y0 <= shape[0] - height and 0 <= mask.x0 <= shape[1] - width):
        raise BlockError(f"masks() gave a crop of {height} x {width} at {mask.y0}, {mask.x0}; it leaves the slice of {shape}")
    if not 1 <= mask.profile <= count:
        raise BlockError(f"masks() gave a Mask of profile {mask.profile}; the slice has prompts 1 to {count}")
    if mask.logits is not None and mask.logits.shape != mask.mask.shape:
        raise BlockError(f"masks() gave logits of shape {mask.logits.shape} to a mask of {mask.mask.shape}; they must be the same")
    if not np.isfinite(mask.score):
        raise BlockError(_NOT_FINITE)


_NOT_FINITE = "masks() gave scores that are not finite; numbers are wanted, larger where the mask is better"


def checked_slice_masks(answer: object, count: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The answer of a model of slices to one slice.

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
        raise BlockError(_NOT_FINITE)
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
