"""How well objects were found: matched one to one by intersection over union, in the volume and slice by slice."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from mitoscale.ops.contingency import Contingency, contingency
from mitoscale.ops.instances import instances, profiles

THRESHOLDS = np.arange(10) * 0.05 + 0.5
"""IoU 0.5, 0.55 .. 0.95, over which ``msa`` is the mean."""

_INDEX_75 = 5
"""Where 0.75 is among them."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Matched pairs, and how many objects there were to match: a few sums, however large the volume."""

    passed: np.ndarray
    """(10,) int64 pairs whose IoU reaches each of :data:`THRESHOLDS`."""
    iou_sum: float
    """Sum of the IoU of all pairs of IoU 0.5 or above."""
    n_pred: int
    """Objects of the prediction."""
    n_true: int
    """Objects of the truth."""


def object_scores_3d(prediction: np.ndarray, truth: np.ndarray, min_truth: int = 0) -> dict[str, float]:
    """Object scores over a whole volume.

    Parameters
    ----------
    prediction, truth : (Z, Y, X) bool or integer, same shape
        Labels; of a mask (0 and one other value) its 26-connected components.
    min_truth : int
        Truth objects of fewer voxels are ignored, and so is a prediction that has at least half of its voxels on them
        and more than on other truth.

    Returns
    -------
    dict
        With TP the pairs of IoU >= t, each object in one pair at most, and FP and FN the objects left over:
        ``f1_50``, ``f1_75`` are 2 TP / (2 TP + FP + FN), ``sa50``, ``sa75`` TP / (TP + FP + FN), ``msa`` the mean of the
        latter over t = 0.5, 0.55 .. 0.95, ``pq`` panoptic quality, each 0..1 and 1 where there is nothing to find and
        nothing was found; ``tp50``, ``fp50``, ``fn50``, ``n_pred``, ``n_true`` are counts.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Caicedo et al. 2019, doi 10.1038/s41592-019-0612-7 (segmentation accuracy, there called average precision);
    Kirillov et al. 2019, arXiv 1801.00868 (panoptic quality).

    Examples
    --------
    >>> scores = object_scores_3d(np.array([[[1, 1, 0, 2]]]), np.array([[[4, 4, 4, 0]]]))
    >>> scores["tp50"], scores["fp50"], scores["fn50"], round(scores["pq"], 3)
    (1, 1, 0, 0.444)
    """
    return object_scores([match(contingency(instances(prediction), instances(truth)), min_truth)])


def object_scores_2d(prediction: np.ndarray, truth: np.ndarray, min_truth: int = 0) -> dict[str, float]:
    """Object scores of each slice, pooled: pairs and left-over objects of all slices are counted together.

    An object of a slice is a label's cross-section, be it in one part or more; of a mask (0 and one other value in the
    whole array) it is an 8-connected component of the slice.

    Parameters
    ----------
    prediction, truth : (Z, Y, X) bool or integer, same shape
        Labels or a mask.
    min_truth : int
        As in :func:`object_scores_3d`, in pixels of a slice.

    Returns
    -------
    dict
        As from :func:`object_scores_3d`.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> labels = np.array([[[1, 1, 0, 2]], [[1, 1, 0, 0]]])
    >>> scores = object_scores_2d(labels, labels)
    >>> scores["n_true"], scores["f1_75"]
    (3, 1.0)
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, truth {truth.shape}: they must be the same")
    pairs = zip(profiles(prediction), profiles(truth), strict=True)
    return object_scores(match(contingency(p, t), min_truth) for p, t in pairs)


def match(table: Contingency, min_truth: int = 0, ignore: Collection[int] = ()) -> Matches:
    """Match the objects of one contingency, of a volume or a slice, one to one.

    Parameters
    ----------
    table : Contingency
        Which labels meet.
    min_truth : int
        See :func:`object_scores_3d`.
    ignore : collection of int
        True labels that are treated as those below ``min_truth`` are, whatever their size.

    Examples
    --------
    >>> match(contingency(np.array([1, 1, 0, 2]), np.array([4, 4, 4, 0]))).passed.tolist()
    [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    """
    pred_size, true_size = table.pred_size, table.true_size
    pred_real, true_real = (table.pred_labels != 0) & (pred_size > 0), (table.true_labels != 0) & (true_size > 0)
    ignored = true_real & ((true_size < min_truth) | np.isin(table.true_labels, list(ignore)))
    true_real &= ~ignored
    pred_real &= ~_lies_on(ignored, true_real, table)
    usable = pred_real[table.pred] & true_real[table.true]
    pred, true, common = table.pred[usable], table.true[usable], table.count[usable]
    iou = common / (pred_size[pred] + true_size[true] - common)
    good = iou >= 0.5
    pred, true, iou = pred[good], true[good], iou[good]
    # Above 0.5 partners are unique. At just 0.5 one object can be two halves: then it counts with the first of them.
    _, first = np.unique(pred, return_index=True)
    true, iou = true[first], iou[first]
    _, first = np.unique(true, return_index=True)
    iou = iou[first]
    # 0.55 and the like are not exact in binary: an IoU of 11/20 must pass.
    passed = (iou[:, None] >= THRESHOLDS - 1e-12).sum(axis=0)
    return Matches(passed=passed, iou_sum=float(iou.sum()), n_pred=int(pred_real.sum()), n_true=int(true_real.sum()))


def _lies_on(ignored: np.ndarray, real: np.ndarray, table: Contingency) -> np.ndarray:
    """(P,) bool: predictions with at least half of their voxels on ignored truth, and more there than on real truth."""

    def voxels_on(kind: np.ndarray) -> np.ndarray:
        return np.bincount(table.pred, weights=table.count * kind[table.true], minlength=len(table.pred_labels))

    on_ignored = voxels_on(ignored)
    result: np.ndarray = (on_ignored * 2 >= table.pred_size) & (on_ignored > voxels_on(real))
    return result


def object_scores(matches: Iterable[Matches]) -> dict[str, float]:
    """Scores of matches that are pooled, such as those of all slices; see :func:`object_scores_3d`."""
    passed, iou_sum, n_pred, n_true = np.zeros(len(THRESHOLDS), np.int64), 0.0, 0, 0
    for one in matches:
        passed = passed + one.passed
        iou_sum, n_pred, n_true = iou_sum + one.iou_sum, n_pred + one.n_pred, n_true + one.n_true
    both = n_pred + n_true
    accuracy = [float(tp / (both - tp)) if both else 1.0 for tp in passed]
    tp50, tp75 = int(passed[0]), int(passed[_INDEX_75])
    return {
        "f1_50": 2 * tp50 / both if both else 1.0,
        "f1_75": 2 * tp75 / both if both else 1.0,
        "sa50": accuracy[0],
        "sa75": accuracy[_INDEX_75],
        "msa": float(np.mean(accuracy)),
        "pq": 2 * iou_sum / both if both else 1.0,
        "tp50": tp50,
        "fp50": n_pred - tp50,
        "fn50": n_true - tp50,
        "n_pred": n_pred,
        "n_true": n_true,
    }
