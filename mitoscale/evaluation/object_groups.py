"""Objects of two label volumes as groups that belong together: matched, split, merged, missing, new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mitoscale.ops.contingency import Contingency

KINDS = ("matched", "changed", "split", "merged", "mixed", "missing", "new")
"""What became of objects: one for one at IoU 0.5 or above; one for one below that; one of theirs is several of ours; several of
theirs are one of ours; several for several; theirs alone; ours alone."""


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Groups of objects, one entry each, and where each object belongs. "Here" is the prediction, "there" the truth."""

    kind: np.ndarray
    """(G,) index into :data:`KINDS`."""
    count_here: np.ndarray
    """(G,) int64 objects of the prediction."""
    count_there: np.ndarray
    """(G,) int64 objects of the truth."""
    voxels_here: np.ndarray
    """(G,) int64."""
    voxels_there: np.ndarray
    """(G,) int64."""
    best_here: np.ndarray
    """(G,) label of the prediction of the pair that shares most; 0 where there is no pair."""
    best_there: np.ndarray
    """(G,) its partner."""
    iou: np.ndarray
    """(G,) float64 intersection over union of that pair."""
    differ: np.ndarray
    """(G,) int64 voxels of the group that this pair does not share."""
    labels_here: np.ndarray
    """(P,) labels of the prediction, sorted by group."""
    labels_there: np.ndarray
    """(T,) labels of the truth, sorted by group."""

    def members(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Labels of a group's objects, here and there."""
        here, there = (int(counts[:group].sum()) for counts in (self.count_here, self.count_there))
        stop = here + int(self.count_here[group]), there + int(self.count_there[group])
        return self.labels_here[here : stop[0]], self.labels_there[there : stop[1]]


def group_objects(table: Contingency) -> Groups:
    """Group objects: two belong together where more than half of one of them lies in the other.

    Parameters
    ----------
    table : Contingency
        Which objects meet.

    Returns
    -------
    Groups
        Each object is in one group.

    Examples
    --------
    >>> from mitoscale.ops.contingency import contingency
    >>> found = group_objects(contingency(np.array([1, 1, 2, 2, 0, 3]), np.array([7, 7, 7, 7, 8, 0])))
    >>> [KINDS[kind] for kind in found.kind], found.differ.tolist(), found.members(0)[0].tolist()
    (['split', 'new', 'missing'], [2, 1, 1], [1, 2])
    """
    sizes = table.pred_size, table.true_size
    real = [(labels != 0) & (size > 0) for labels, size in zip((table.pred_labels, table.true_labels), sizes, strict=True)]
    some = real[0][table.pred] & real[1][table.true]
    pred, true, common = table.pred[some], table.true[some], table.count[some]
    linked = (2 * common > sizes[0][pred]) | (2 * common > sizes[1][true])
    group, count = _components(real, pred[linked], true[linked])
    same = group[0][pred] == group[1][true]
    pred, true, common = pred[same], true[same], common[same]
    of_pair = group[0][pred]
    numbers = [np.bincount(g[r], minlength=count) for g, r in zip(group, real, strict=True)]
    voxels = [np.bincount(g[r], weights=s[r], minlength=count).astype(np.int64) for g, r, s in zip(group, real, sizes, strict=True)]
    shared = np.bincount(of_pair, weights=common, minlength=count).astype(np.int64)
    order = np.lexsort((-common, of_pair))
    found, first = np.unique(of_pair[order], return_index=True)
    chosen = order[first]
    best = [np.zeros(count, labels.dtype) for labels in (table.pred_labels, table.true_labels)]
    iou, most = np.zeros(count), np.zeros(count, np.int64)
    best[0][found], best[1][found] = table.pred_labels[pred[chosen]], table.true_labels[true[chosen]]
    iou[found] = common[chosen] / (sizes[0][pred[chosen]] + sizes[1][true[chosen]] - common[chosen])
    most[found] = common[chosen]
    labels = [
        values[r][np.argsort(g[r], kind="stable")]
        for values, r, g in zip((table.pred_labels, table.true_labels), real, group, strict=True)
    ]
    return Groups(
        kind=_kinds(numbers[0], numbers[1], iou),
        count_here=numbers[0],
        count_there=numbers[1],
        voxels_here=voxels[0],
        voxels_there=voxels[1],
        best_here=best[0],
        best_there=best[1],
        iou=iou,
        differ=voxels[0] + voxels[1] - shared - most,
        labels_here=labels[0],
        labels_there=labels[1],
    )


def _components(real: list[np.ndarray], pred: np.ndarray, true: np.ndarray) -> tuple[list[np.ndarray], int]:
    """Group of each object of both sides, numbered from 0 without gaps; -1 where there is no object."""
    here, there = len(real[0]), len(real[1])
    edges = coo_array((np.ones(len(pred), bool), (pred, true + here)), shape=(here + there, here + there))
    _, found = connected_components(edges, directed=False)
    objects = np.concatenate(real)
    result = np.full(here + there, -1)
    values, result[objects] = np.unique(found[objects], return_inverse=True)
    return [result[:here], result[here:]], len(values)


def _kinds(here: np.ndarray, there: np.ndarray, iou: np.ndarray) -> np.ndarray:
    conditions = {
        "missing": here == 0,
        "new": there == 0,
        "mixed": (here > 1) & (there > 1),
        "split": here > 1,
        "merged": there > 1,
        "matched": iou >= 0.5,
    }
    kinds: np.ndarray = np.select(list(conditions.values()), [KINDS.index(name) for name in conditions], KINDS.index("changed"))
    return kinds
