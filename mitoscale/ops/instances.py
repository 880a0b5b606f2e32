"""What an array of annotations is, a mask or labels, and the instances it stands for."""

from __future__ import annotations

import cc3d
import numpy as np


def is_two_valued(labels: np.ndarray) -> bool:
    """Whether an array holds 0 and at most one other value: a mask.

    Parameters
    ----------
    labels : (...) bool or integer
        Not negative.

    Examples
    --------
    >>> is_two_valued(np.array([0, 255])), is_two_valued(np.array([0, 1, 2])), is_two_valued(np.array([3, 4]))
    (True, False, False)
    """
    highest = labels.max(initial=0)
    return bool(((labels == 0) | (labels == highest)).all())


def instances(truth: np.ndarray) -> np.ndarray:
    """Components of a mask; labels stay as they are.

    Parameters
    ----------
    truth : (Z, Y, X) or (Y, X), bool or integer
        A mask (0 and one other value), or labels.

    Returns
    -------
    same shape, unsigned where it was a mask
        26-connected (3D) or 8-connected (2D) components numbered from 1, or the labels themselves.

    Examples
    --------
    >>> instances(np.array([[255, 0, 255]], np.uint8)).tolist()
    [[1, 0, 2]]
    >>> instances(np.array([[7, 0, 5]], np.uint8)).tolist()
    [[7, 0, 5]]
    """
    return components(truth) if is_two_valued(truth) else truth


def profiles(truth: np.ndarray) -> np.ndarray:
    """Instances slice by slice: 8-connected components of a mask's slices; of labels their cross-sections, as they are.

    Parameters
    ----------
    truth : (Z, Y, X) bool or integer
        A mask (0 and one other value in the whole array), or labels.

    Returns
    -------
    (Z, Y, X) unsigned where it was a mask
        A number is an instance within its slice only.

    Examples
    --------
    >>> profiles(np.array([[[9, 0, 9]], [[9, 9, 9]]], np.uint8)).tolist()
    [[[1, 0, 2]], [[1, 1, 1]]]
    """
    if not is_two_valued(truth):
        return truth
    result = np.zeros(truth.shape, np.uint32)
    for target, plane in zip(result, truth, strict=True):
        target[:] = components(plane)
    return result


def components(mask: np.ndarray) -> np.ndarray:
    """Connected components of a mask, numbered from 1.

    Parameters
    ----------
    mask : (Z, Y, X) or (Y, X), bool or integer
        Not 0 is inside; 26-connected in 3D, 8-connected in 2D.

    Returns
    -------
    same shape, unsigned

    Examples
    --------
    >>> components(np.array([[1, 0, 1], [0, 0, 1]])).tolist()
    [[1, 0, 2], [0, 0, 2]]
    """
    # Not bool: cc3d 4.1.1 labels background in 2D bool arrays of some odd shapes and fails on some thin 3D ones.
    binary = (mask != 0).astype(np.uint8, order="C")
    found: np.ndarray = cc3d.connected_components(binary, connectivity=26 if mask.ndim == 3 else 8)
    return found


def connected_parts(labels: np.ndarray) -> np.ndarray:
    """Each 26-connected part of each label, numbered on its own.

    Parameters
    ----------
    labels : (Z, Y, X) integer
        0 is background.

    Returns
    -------
    (Z, Y, X) uint32

    Examples
    --------
    >>> connected_parts(np.array([[[7, 0, 7, 5]]])).tolist()
    [[[1, 0, 2, 3]]]
    """
    parts: np.ndarray = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=26)
    return parts.astype(np.uint32)


def is_grey_mask(labels: np.ndarray) -> bool:
    """Whether 8-bit values are a mask with softened borders: 0 and 255 prevail, and some voxels lie between.

    Parameters
    ----------
    labels : (Z, Y, X)
        Anything; only uint8 can be one.

    Examples
    --------
    >>> is_grey_mask(np.array([[[0, 90, 255, 255, 31, 0]]], np.uint8))
    True
    >>> is_grey_mask(np.array([[[0, 1, 1, 2, 2, 255]]], np.uint8))
    False
    """
    if labels.dtype != np.uint8:
        return False
    counts = np.zeros(256, np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=256)
    between = counts[1:255].sum()
    return bool(counts[0] and 0 < between <= counts[255])


def is_grey_image(labels: np.ndarray) -> bool:
    """Whether the middle slice looks like an image: more than 64 values, and neighbours along x that mostly differ.

    Parameters
    ----------
    labels : (Z, Y, X)
        Anything.

    Examples
    --------
    >>> noise = np.random.default_rng(0).integers(0, 200, (1, 64, 64))
    >>> is_grey_image(noise), is_grey_image(noise.repeat(8, axis=2))
    (True, False)
    """
    if labels.size == 0:
        return False
    plane = labels[len(labels) // 2]
    inside = (plane[:, 1:] != 0) & (plane[:, :-1] != 0)
    differ = inside & (plane[:, 1:] != plane[:, :-1])
    return bool(differ.sum() * 2 > inside.sum() and len(np.unique(plane)) > 64)
