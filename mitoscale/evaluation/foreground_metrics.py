"""How well foreground was found, voxel by voxel."""

from __future__ import annotations

import numpy as np

from mitoscale.ops.contingency import Contingency


def foreground_scores(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Intersection over union, Dice, accuracy, precision and recall of the foreground.

    Parameters
    ----------
    prediction, truth : (...) same shape, any dtype
        Not 0 is foreground.

    Returns
    -------
    dict
        ``iou``, ``dice``, ``accuracy``, ``precision``, ``recall``, each 0..1. A ratio whose divisor is 0 is 1:
        nothing was asked and nothing is wrong.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> foreground_scores(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))["accuracy"]
    0.5
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, truth {truth.shape}: they must be the same")
    p, t = prediction != 0, truth != 0
    both, found, wanted = (int(np.count_nonzero(a)) for a in (p & t, p, t))
    return _scores(both, found, wanted, p.size)


def foreground_scores_of(table: Contingency) -> dict[str, float]:
    """The same from a contingency.

    Examples
    --------
    >>> from mitoscale.ops.contingency import contingency
    >>> table = contingency(np.array([3, 4, 0, 0]), np.array([1, 0, 1, 0]))
    >>> foreground_scores_of(table) == foreground_scores(np.array([3, 4, 0, 0]), np.array([1, 0, 1, 0]))
    True
    """
    p, t = table.pred_labels[table.pred] != 0, table.true_labels[table.true] != 0
    both, found, wanted = (int(table.count[a].sum()) for a in (p & t, p, t))
    return _scores(both, found, wanted, table.size)


def _scores(both: int, found: int, wanted: int, size: int) -> dict[str, float]:
    either = found + wanted - both

    def ratio(a: int, b: int) -> float:
        return a / b if b else 1.0

    return {
        "iou": ratio(both, either),
        "dice": ratio(2 * both, found + wanted),
        "accuracy": ratio(size - either + both, size),
        "precision": ratio(both, found),
        "recall": ratio(both, wanted),
    }
