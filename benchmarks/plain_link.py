"""The peer of linking: masks of neighbouring slices are one object where their IoU is above a threshold, and nothing else."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mitoscale.ops.contingency import contingency


def plain_link(masks: np.ndarray, iou: float) -> np.ndarray:
    """Link masks by IoU alone.

    Parameters
    ----------
    masks : (Z, Y, X) integer
        Masks of each slice, numbered within it; 0 is background.
    iou : float
        Least intersection over union of two masks that are one object.

    Returns
    -------
    (Z, Y, X) uint32
        Fragments from 1.
    """
    counts = [int(plane.max(initial=0)) for plane in masks]
    first = np.cumsum([0, *counts])
    pairs = [np.zeros((0, 2), np.int64)]
    for z in range(len(masks) - 1):
        table = contingency(masks[z], masks[z + 1])
        a, b = table.pred_labels[table.pred].astype(np.int64), table.true_labels[table.true].astype(np.int64)
        union = table.pred_size[table.pred] + table.true_size[table.true] - table.count
        good = (a > 0) & (b > 0) & (table.count >= iou * union)
        pairs.append(np.stack([a[good] + first[z], b[good] + first[z + 1]], axis=1))
    ends = np.concatenate(pairs).T
    size = int(first[-1]) + 1
    _, name = connected_components(coo_array((np.ones(ends.shape[1], bool), tuple(ends)), shape=(size, size)), directed=False)
    names = (name - name[0]) % (int(name.max()) + 1)  # the background's own component becomes 0
    numbered = np.where(masks > 0, masks + first[:-1, None, None], 0)
    return names[numbered].astype(np.uint32)
