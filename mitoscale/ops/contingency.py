"""The sparse contingency of two label arrays: which labels meet, and in how many voxels."""

from __future__ import annotations

from dataclasses import dataclass

import fastremap
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Contingency:
    """Common voxels of the labels of a prediction and a truth; background is label 0 and is listed like any other."""

    pred_labels: np.ndarray
    """(P,) labels of the prediction, ascending; the first is 0, even where no voxel has it."""
    true_labels: np.ndarray
    """(T,) labels of the truth, ascending; the first is 0, even where no voxel has it."""
    pred: np.ndarray
    """(E,) int64 index into ``pred_labels`` of each pair that meets."""
    true: np.ndarray
    """(E,) int64 index into ``true_labels``."""
    count: np.ndarray
    """(E,) int64 common voxels, each above 0."""

    @property
    def pred_size(self) -> np.ndarray:
        """(P,) int64 voxels of each label of the prediction."""
        return np.bincount(self.pred, weights=self.count, minlength=len(self.pred_labels)).astype(np.int64)

    @property
    def true_size(self) -> np.ndarray:
        """(T,) int64 voxels of each label of the truth."""
        return np.bincount(self.true, weights=self.count, minlength=len(self.true_labels)).astype(np.int64)

    @property
    def size(self) -> int:
        """Number of voxels counted."""
        return int(self.count.sum())


def contingency(prediction: np.ndarray, truth: np.ndarray) -> Contingency:
    """Count common voxels.

    Parameters
    ----------
    prediction, truth : same shape, bool or integer
        Labels, not negative; 0 is background.

    Returns
    -------
    Contingency

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> c = contingency(np.array([0, 4, 4]), np.array([7, 7, 0]))
    >>> c.pred_labels.tolist(), c.true_labels.tolist(), c.count.tolist()
    ([0, 4], [0, 7], [1, 1, 1])
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, truth {truth.shape}: they must be the same")
    # Where both are background nothing needs counting one by one: that is nine tenths of most volumes.
    either = (prediction != 0) | (truth != 0)
    pred_labels, pred = _indexed(prediction[either])
    true_labels, true = _indexed(truth[either])
    packed, count = fastremap.unique(pred * len(true_labels) + true, return_counts=True)
    background = either.size - len(pred)
    if background:
        packed, count = np.append(0, packed), np.append(background, count)
    p, t = np.divmod(packed.astype(np.int64), len(true_labels))
    return Contingency(pred_labels=pred_labels, true_labels=true_labels, pred=p, true=t, count=count.astype(np.int64))


def contingency_of_pairs(pred: np.ndarray, true: np.ndarray, count: np.ndarray) -> Contingency:
    """The contingency of label pairs that were counted apart, such as block by block; a pair may come more than once.

    Parameters
    ----------
    pred, true : (N,) unsigned
        Labels of each pair.
    count : (N,) int64
        Common voxels of each pair.

    Examples
    --------
    >>> c = contingency_of_pairs(np.array([4, 4, 0]), np.array([7, 7, 7]), np.array([1, 2, 5]))
    >>> c.pred_labels.tolist(), c.pred.tolist(), c.count.tolist()
    ([0, 4], [0, 1], [5, 3])
    """
    pred_labels, pred_index = _indexed(pred)
    true_labels, true_index = _indexed(true)
    packed, place = np.unique(pred_index * len(true_labels) + true_index, return_inverse=True)
    summed = np.zeros(len(packed), np.int64)
    np.add.at(summed, place, count)
    p, t = np.divmod(packed, len(true_labels))
    return Contingency(pred_labels=pred_labels, true_labels=true_labels, pred=p, true=t, count=summed)


def _indexed(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels in use, ascending from 0, and (N,) int64 the index of each voxel's label among them."""
    with_background = np.append(np.zeros(1, labels.dtype), labels)
    if with_background.dtype == bool:
        with_background = with_background.view(np.uint8)
    found, index = fastremap.unique(with_background, return_inverse=True)
    return found, index[1:].astype(np.int64)
