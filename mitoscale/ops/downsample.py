"""Halving volumes for a pyramid: mean for images, mode for labels.

At an odd border the last coarse voxel covers the voxels that exist, so the coarse shape is the fine one divided and rounded up.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from mitoscale.core.geometry import Triple

_STRIP = 2**18
"""Voxels that are worked on at once: what fits into the cache."""


def _members(array: np.ndarray, factor: Triple) -> list[tuple[np.ndarray, tuple[slice, ...]]]:
    """For each place within a coarse voxel: the fine voxels at that place, and the coarse voxels that have one."""
    members = []
    for offset in product(*(range(f) for f in factor)):
        part = array[tuple(slice(o, None, f) for o, f in zip(offset, factor, strict=True))]
        members.append((part, tuple(slice(0, n) for n in part.shape)))
    return members


def _coarse_shape(array: np.ndarray, factor: Triple) -> Triple:
    if any(f not in (1, 2) for f in factor):
        raise ValueError(f"factor {factor} must be 1 or 2 on each axis")
    z, y, x = (-(-n // f) for n, f in zip(array.shape, factor, strict=True))
    return z, y, x


def mean_downsample(image: np.ndarray, factor: Triple) -> np.ndarray:
    """Mean of each group of voxels.

    Parameters
    ----------
    image : (Z, Y, X) integer or float
        Grey values.
    factor : (z, y, x)
        1 or 2 on each axis.

    Returns
    -------
    (ceil(Z/z), ceil(Y/y), ceil(X/x)) of the same dtype
        Integers are rounded to the nearest, halves up.

    Examples
    --------
    >>> mean_downsample(np.array([[[0, 2, 9]]], dtype=np.uint8), (1, 1, 2))
    array([[[1, 9]]], dtype=uint8)
    """
    shape = _coarse_shape(image, factor)
    if image.dtype.kind in "ub" and image.dtype.itemsize <= 2:
        return _integer_means(image, factor, shape)
    total = np.zeros(shape, np.float64)
    count = np.zeros(shape, np.uint8)
    for part, where in _members(image, factor):
        total[where] += part
        count[where] += 1
    mean = total / count
    return (np.floor(mean + 0.5) if image.dtype.kind in "iu" else mean).astype(image.dtype)


def _integer_means(image: np.ndarray, factor: Triple, shape: Triple) -> np.ndarray:
    """Rounded means of small unsigned integers, some rows of a coarse slice at a time: what fits into the cache."""
    kind = np.dtype(np.uint16 if image.dtype.itemsize == 1 else np.uint32)
    bits = sum(f == 2 for f in factor)
    rows = max(2, _STRIP // max(1, image.shape[2]) // 2 * 2)
    coarse = np.empty(shape, image.dtype)
    for z, plane in enumerate(coarse):
        members = image[z * factor[0] : (z + 1) * factor[0]]
        for first in range(0, image.shape[1], rows):
            total = _row_sums(members[0, first : first + rows], factor[2], kind)
            if factor[0] == 2:
                total += _row_sums(members[-1, first : first + rows], factor[2], kind)  # at an odd border the last one counts twice
            if factor[1] == 2:
                total = _pair_sums(total)
            total += (1 << bits) >> 1
            total >>= bits
            begin = first // factor[1]
            plane[begin : begin + len(total)] = total
    return coarse


def _row_sums(rows: np.ndarray, factor: int, kind: np.dtype) -> np.ndarray:
    """Sums of neighbours along x, of a dtype twice as wide; the last of an odd number is counted twice."""
    if factor == 1:
        return rows.astype(kind)
    if rows.shape[1] % 2:
        rows = np.pad(rows, ((0, 0), (0, 1)), mode="edge")
    pairs: np.ndarray = np.ascontiguousarray(rows).view(kind)  # two neighbours as the halves of one number
    bits = 8 * rows.dtype.itemsize
    sums: np.ndarray = pairs & ((1 << bits) - 1)
    sums += pairs >> bits
    return sums


def _pair_sums(values: np.ndarray) -> np.ndarray:
    """Sums of neighbouring rows; the last of an odd number is counted twice."""
    if len(values) % 2:
        values = np.concatenate([values, values[-1:]])
    sums: np.ndarray = values[0::2] + values[1::2]
    return sums


def mode_downsample(labels: np.ndarray, factor: Triple) -> np.ndarray:
    """Most frequent label of each group of voxels; of equally frequent ones the smallest that is not background.

    Parameters
    ----------
    labels : (Z, Y, X) unsigned
        Labels, 0 is background.
    factor : (z, y, x)
        1 or 2 on each axis.

    Returns
    -------
    (ceil(Z/z), ceil(Y/y), ceil(X/x)) of the same dtype

    Examples
    --------
    >>> mode_downsample(np.array([[[0, 7, 5, 3, 3]]], dtype=np.uint32), (1, 1, 2))
    array([[[7, 3, 3]]], dtype=uint32)
    """
    mixed = np.zeros(_coarse_shape(labels, factor), bool)
    (coarse, _), *others = _members(labels, factor)
    for part, where in others:
        mixed[where] |= part != coarse[where]
    coarse = coarse.copy()
    # Nearly all groups are of one label: only the others take counting.
    coarse[mixed] = _most_frequent(*_groups(labels, factor, np.nonzero(mixed)))
    return coarse


def _groups(labels: np.ndarray, factor: Triple, where: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(M, N) labels of the fine voxels of N coarse ones, and (M, N) bool which of them exist."""
    stack, present = [], []
    for offset in product(*(range(f) for f in factor)):
        at = [w * f + o for w, f, o in zip(where, factor, offset, strict=True)]
        present.append(np.logical_and.reduce([a < n for a, n in zip(at, labels.shape, strict=True)]))
        stack.append(labels[tuple(np.minimum(a, n - 1) for a, n in zip(at, labels.shape, strict=True))])
    return np.stack(stack), np.stack(present)


def _most_frequent(stack: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(N,) most frequent label among the (M, N) present ones; see :func:`mode_downsample`."""
    best, best_count = np.zeros(stack.shape[1:], stack.dtype), np.zeros(stack.shape[1:], np.uint8)
    for i in range(len(stack)):
        count = ((stack == stack[i]) & present).sum(0, dtype=np.uint8) * present[i]
        # Order of preference at equal counts: any label before background, then the smaller label.
        tie = (count == best_count) & (stack[i] != 0) & ((best == 0) | (stack[i] < best)) & present[i]
        take = (count > best_count) | tie
        best[take], best_count[take] = stack[i][take], count[take]
    return best
