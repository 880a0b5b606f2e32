"""How well objects were found: matched one to one by intersection over union, in the volume and slice by slice."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np

from mitoscale.ops.contingency import contingency

THRESHOLDS = np.arange(10) * 0.05 + 0.5
"""IoU 0.5, 0.55 .. 0.95."""


@dataclass(frozen=True, kw_only=True)
class _Matches:
    """IoUs of pairs that may match, and how many objects there are."""

    ious: np.ndarray
    """(M,) IoU of each pair above 0.5; such pairs are unique on both sides."""
    n_pred: int
    n_true: int


def instances(truth: np.ndarray) -> np.ndarray:
    """Components of a two-valued array; labels stay as they are.

    Parameters
    ----------
    truth : (Z, Y, X) or (Y, X) integer or bool
        0 and one other value, or labels.

    Returns
    -------
    same shape, unsigned
        26-connected (3D) or 8-connected (2D) components, or the labels themselves.

    Examples
    --------
    >>> instances(np.array([[255, 0, 255]], np.uint8)).tolist()
    [[1, 0, 2]]
    """
    if is_two_valued(truth):
        connectivity = 26 if truth.ndim == 3 else 8
        components: np.ndarray = cc3d.connected_components(np.ascontiguousarray(truth != 0), connectivity=connectivity)
        return components
    return truth


def is_two_valued(labels: np.ndarray) -> bool:
    """Whether an array holds 0 and at most one other value."""
    highest = labels.max(initial=0)
    return bool(highest == 0 or ((labels == 0) | (labels == highest)).all())


def object_scores_3d(prediction: np.ndarray, truth: np.ndarray, min_truth: int = 0) -> dict[str, float]:
    """Object scores over the whole volume.

    Parameters
    ----------
    prediction, truth : (Z, Y, X) integer
        Labels.
    min_truth : int
        Truth objects of fewer voxels are ignored, and so are predictions that lie on them more than on anything else.

    Returns
    -------
    dict
        ``f1_50``, ``f1_75``, ``sa50``, ``sa75``, ``msa``, ``pq``, ``tp50``, ``fp50``, ``fn50``, ``n_pred``, ``n_true``.
    """
    return _scores([_match(prediction, truth, min_truth)])


def object_scores_2d(prediction: np.ndarray, truth: np.ndarray, min_truth: int = 0) -> dict[str, float]:
    """Object scores of the profiles in each slice, counts pooled over slices; see :func:`object_scores_3d`.

    A profile is the connected part (8-neighbourhood) of one label in one slice.
    """
    matches = []
    for p, t in zip(prediction, truth, strict=True):
        matches.append(_match(_profiles(p), _profiles(t), min_truth))
    return _scores(matches)


def _profiles(labels: np.ndarray) -> np.ndarray:
    profiles: np.ndarray = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=8)
    return profiles


def _match(prediction: np.ndarray, truth: np.ndarray, min_truth: int) -> _Matches:
    table = contingency(prediction, truth)
    pred_size, true_size = table.pred_size, table.true_size
    pred_real, true_real = table.pred_labels != 0, table.true_labels != 0
    ignored_true = true_real & (true_size < min_truth)
    ignored_pred = _mostly_on(ignored_true, table.pred, table.true, table.count, len(pred_size)) & pred_real
    pred_real &= ~ignored_pred
    true_real &= ~ignored_true
    usable = pred_real[table.pred] & true_real[table.true]
    common = table.count[usable]
    iou = common / (pred_size[table.pred[usable]] + true_size[table.true[usable]] - common)
    return _Matches(ious=iou[iou >= 0.5], n_pred=int(pred_real.sum()), n_true=int(true_real.sum()))


def _mostly_on(
    ignored: np.ndarray, pred: np.ndarray, true: np.ndarray, count: np.ndarray, n_pred: int
) -> np.ndarray:
    """(P,) bool: predictions that share more voxels with ignored truth than with other truth, and at least half their own."""
    on_ignored = np.bincount(pred, weights=count * ignored[true], minlength=n_pred)
    everything = np.bincount(pred, weights=count, minlength=n_pred)
    result: np.ndarray = on_ignored * 2 > everything
    return result


def _scores(matches: list[_Matches]) -> dict[str, float]:
    ious = np.concatenate([m.ious for m in matches]) if matches else np.zeros(0)
    n_pred, n_true = sum(m.n_pred for m in matches), sum(m.n_true for m in matches)

    def true_positives(threshold: float) -> int:
        return int((ious >= threshold - 1e-12).sum())

    def accuracy(threshold: float) -> float:
        tp = true_positives(threshold)
        return tp / (n_pred + n_true - tp) if n_pred + n_true else 1.0

    def f1(threshold: float) -> float:
        return 2 * true_positives(threshold) / (n_pred + n_true) if n_pred + n_true else 1.0

    tp50 = true_positives(0.5)
    return {
        "f1_50": f1(0.5),
        "f1_75": f1(0.75),
        "sa50": accuracy(0.5),
        "sa75": accuracy(0.75),
        "msa": float(np.mean([accuracy(t) for t in THRESHOLDS])),
        # Panoptic quality (Kirillov et al. 2019, arXiv 1801.00868): mean IoU of the matches times F1.
        "pq": 2 * float(ious.sum()) / (n_pred + n_true) if n_pred + n_true else 1.0,
        "tp50": tp50,
        "fp50": n_pred - tp50,
        "fn50": n_true - tp50,
        "n_pred": n_pred,
        "n_true": n_true,
    }
