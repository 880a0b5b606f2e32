"""How well two partitions agree: variation of information and adapted Rand error."""

from __future__ import annotations

import numpy as np

from mitoscale.ops.contingency import Contingency, contingency


def voi(prediction: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Split and merge part of the variation of information (Meila 2007, doi 10.1016/j.jmva.2006.11.013).

    Equal to ``skimage.metrics.variation_of_information(truth, prediction)`` with its defaults: background is one more
    segment of both, so missed and invented foreground counts too.

    Parameters
    ----------
    prediction, truth : same shape, bool or integer
        Labels, not negative.

    Returns
    -------
    split, merge : float
        Bits: the entropy of the prediction given the truth (objects cut), and of the truth given the prediction
        (objects merged). Both are 0 if and only if the partitions are the same.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> voi(np.array([1, 2, 3, 3]), np.array([1, 1, 3, 3]))
    (0.5, 0.0)
    """
    return voi_of(contingency(prediction, truth))


def voi_of(table: Contingency) -> tuple[float, float]:
    """The same from a contingency: split and merge, in bits."""
    joint = table.count / max(table.size, 1)
    split = float((joint * np.log2(table.true_size[table.true] / table.count)).sum())
    merge = float((joint * np.log2(table.pred_size[table.pred] / table.count)).sum())
    return split, merge


def arand(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Adapted Rand error (Arganda-Carreras et al. 2015, doi 10.3389/fnana.2015.00142): 1 - F1 over pairs of voxels.

    Equal to ``skimage.metrics.adapted_rand_error(truth, prediction)[0]`` with its defaults (``ignore_labels=(0,)``):
    voxels that are background *of the truth* are left out; background of the prediction is one more segment.

    Parameters
    ----------
    prediction, truth : same shape, bool or integer
        Labels, not negative.

    Returns
    -------
    float
        0 is perfect, 1 the worst; 0 where neither has a pair of voxels to compare.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> arand(np.array([1, 1, 2, 2]), np.array([1, 1, 2, 2]))
    0.0
    >>> round(arand(np.array([1, 1, 1, 1]), np.array([1, 1, 2, 2])), 3)
    0.5
    """
    return arand_of(contingency(prediction, truth))


def arand_of(table: Contingency) -> float:
    """The same from a contingency."""
    real = table.true_labels[table.true] != 0
    pred, true, count = table.pred[real], table.true[real], table.count[real].astype(np.float64)

    def pairs(sizes: np.ndarray) -> float:
        return float((sizes * (sizes - 1)).sum())

    together = pairs(np.bincount(pred, weights=count)) + pairs(np.bincount(true, weights=count))
    return 1.0 - 2.0 * pairs(count) / together if together else 0.0
