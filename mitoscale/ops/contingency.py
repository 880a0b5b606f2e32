"""The sparse contingency of two label arrays: which labels meet, and in how many voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Contingency:
    """Common voxels of the labels of a prediction and a truth; label 0 is background and is listed like any other."""

    pred_labels: np.ndarray
    """(P,) labels of the prediction, ascending."""
    true_labels: np.ndarray
    """(T,) labels of the truth, ascending."""
    pred: np.ndarray
    """(E,) int64 index into ``pred_labels`` of each pair that meets."""
    true: np.ndarray
    """(E,) int64 index into ``true_labels``."""
    count: np.ndarray
    """(E,) int64 common voxels."""

    @property
    def pred_size(self) -> np.ndarray:
        """(P,) voxels of each label of the prediction."""
        return np.bincount(self.pred, weights=self.count, minlength=len(self.pred_labels)).astype(np.int64)

    @property
    def true_size(self) -> np.ndarray:
        """(T,) voxels of each label of the truth."""
        return np.bincount(self.true, weights=self.count, minlength=len(self.true_labels)).astype(np.int64)


def contingency(prediction: np.ndarray, truth: np.ndarray) -> Contingency:
    """Count common voxels.

    Parameters
    ----------
    prediction, truth : same shape, integer
        Labels.

    Returns
    -------
    Contingency

    Examples
    --------
    >>> c = contingency(np.array([0, 4, 4]), np.array([7, 7, 0]))
    >>> c.pred_labels.tolist(), c.true_labels.tolist(), c.count.tolist()
    ([0, 4], [0, 7], [1, 1, 1])
    """
    pred_labels, pred = np.unique(prediction, return_inverse=True)
    true_labels, true = np.unique(truth, return_inverse=True)
    packed, count = np.unique(pred.ravel() * len(true_labels) + true.ravel(), return_counts=True)
    p, t = np.divmod(packed, len(true_labels))
    return Contingency(pred_labels=pred_labels, true_labels=true_labels, pred=p, true=t, count=count)
