"""How well two partitions agree: variation of information and adapted Rand error."""

from __future__ import annotations

import numpy as np

from mitoscale.ops.contingency import contingency


def variation_of_information(prediction: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Split and merge part of the variation of information (Meila 2007, doi 10.1016/j.jmva.2006.11.013).

    Background counts as one more segment, as in scikit-image's function of the same name without ``ignore_labels``.

    Parameters
    ----------
    prediction, truth : same shape, integer
        Labels.

    Returns
    -------
    split, merge : float
        Bits: the entropy of the prediction given the truth (objects cut), and of the truth given the prediction (merged).

    Examples
    --------
    >>> variation_of_information(np.array([1, 2, 3, 3]), np.array([1, 1, 3, 3]))
    (0.5, 0.0)
    """
    table = contingency(prediction, truth)
    total = max(int(table.count.sum()), 1)
    joint = table.count / total
    split = float(-(joint * np.log2(table.count / table.true_size[table.true])).sum())
    merge = float(-(joint * np.log2(table.count / table.pred_size[table.pred])).sum())
    return abs(split), abs(merge)


def adapted_rand_error(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Adapted Rand error (Arganda-Carreras et al. 2015, doi 10.3389/fnana.2015.00142); background of the truth does not count.

    Parameters
    ----------
    prediction, truth : same shape, integer
        Labels.

    Returns
    -------
    float
        0 is perfect, 1 the worst; 0 where the truth has no pair of voxels.

    Examples
    --------
    >>> adapted_rand_error(np.array([1, 1, 2, 2]), np.array([1, 1, 2, 2]))
    0.0
    """
    table = contingency(prediction, truth)
    real = table.true_labels[table.true] != 0
    pred, true, count = table.pred[real], table.true[real], table.count[real].astype(np.float64)
    pairs = (count * (count - 1)).sum()
    pred_size, true_size = np.bincount(pred, weights=count), np.bincount(true, weights=count)
    pred_pairs, true_pairs = (pred_size * (pred_size - 1)).sum(), (true_size * (true_size - 1)).sum()
    if true_pairs == 0:
        return 0.0
    precision = pairs / pred_pairs if pred_pairs else 1.0
    recall = pairs / true_pairs
    return float(1 - 2 * precision * recall / (precision + recall)) if precision + recall else 1.0
