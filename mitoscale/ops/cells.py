"""Which cell each object lies in, from voxels counted block by block; all parts add up exactly."""

from __future__ import annotations

from collections.abc import Sequence

import fastremap
import numpy as np

from mitoscale.ops.contingency import contingency

Columns = dict[str, np.ndarray]
"""Column name -> (N,) values."""


def cell_pairs(labels: np.ndarray, cells: np.ndarray) -> Columns:
    """Common voxels of objects and cells.

    Parameters
    ----------
    labels : (Z, Y, X) unsigned
        Objects, 0 is background.
    cells : (Z, Y, X) unsigned
        Cells, 0 is outside.

    Returns
    -------
    dict
        ``label`` and ``cell`` (N,) uint64, ``voxels`` (N,) int64.

    Examples
    --------
    >>> {name: column.tolist() for name, column in cell_pairs(np.array([[[1, 1, 0]]]), np.array([[[4, 5, 5]]])).items()}
    {'label': [1, 1], 'cell': [4, 5], 'voxels': [1, 1]}
    """
    met = contingency(labels, cells)
    label, cell = met.pred_labels[met.pred].astype(np.uint64), met.true_labels[met.true].astype(np.uint64)
    kept = (label > 0) & (cell > 0)
    return {"label": label[kept], "cell": cell[kept], "voxels": met.count[kept]}


def merge_pairs(parts: Sequence[Columns]) -> Columns:
    """Pairs of several parts as one table, sorted by label and cell.

    Parameters
    ----------
    parts : sequence of dict
        From :func:`cell_pairs` or this function.
    """
    kinds = {"label": np.uint64, "cell": np.uint64, "voxels": np.int64}
    joined = {name: np.concatenate([np.zeros(0, kind), *(p[name].astype(kind) for p in parts)]) for name, kind in kinds.items()}
    pairs, inverse = np.unique(np.stack([joined["label"], joined["cell"]], axis=1), axis=0, return_inverse=True)
    voxels = np.zeros(len(pairs), np.int64)
    np.add.at(voxels, inverse.ravel(), joined["voxels"])
    return {"label": pairs[:, 0], "cell": pairs[:, 1], "voxels": voxels}


def cell_sizes(cells: np.ndarray) -> Columns:
    """Voxels of each cell.

    Parameters
    ----------
    cells : (Z, Y, X) unsigned
        Cells, 0 is outside.

    Returns
    -------
    dict
        ``cell`` (N,) uint64 and ``voxels`` (N,) int64; ``label`` is 0.
    """
    cell, voxels = fastremap.unique(cells, return_counts=True)
    kept = cell > 0
    return _of_cells(cell[kept].astype(np.uint64), voxels[kept].astype(np.int64))


def cell_of(labels: np.ndarray, pairs: Columns) -> np.ndarray:
    """(N,) uint64: the cell in which most of each object lies; of equal ones the lowest, and 0 where it is in none.

    Parameters
    ----------
    labels : (N,) uint64
        Objects.
    pairs : dict
        From :func:`merge_pairs`.

    Examples
    --------
    >>> pairs = {"label": np.array([1, 1, 2]), "cell": np.array([4, 5, 5]), "voxels": np.array([2, 9, 1])}
    >>> cell_of(np.array([1, 2, 3]), pairs).tolist()
    [5, 5, 0]
    """
    order = np.lexsort((pairs["cell"], -pairs["voxels"], pairs["label"]))
    label, first = np.unique(pairs["label"][order], return_index=True)
    cell = pairs["cell"][order][first].astype(np.uint64)
    if not len(label):
        return np.zeros(len(labels), np.uint64)
    place = np.minimum(np.searchsorted(label, labels), len(label) - 1)
    return np.where(label[place] == labels, cell[place], 0).astype(np.uint64)


class CellSums:
    """What of objects lies in each cell, added up a range of objects at a time.

    Examples
    --------
    >>> sums = CellSums()
    >>> pairs = {"label": np.array([1, 1]), "cell": np.array([4, 5]), "voxels": np.array([2, 8])}
    >>> sums.add(np.array([1]), pairs).tolist()
    [5]
    >>> sizes = {"cell": np.array([4, 5, 9]), "voxels": np.array([10, 10, 10])}
    >>> {name: column.tolist() for name, column in sums.table(sizes, 2.0).items() if name in ("mitochondria", "fraction")}
    {'mitochondria': [0, 1, 0], 'fraction': [0.2, 0.8, 0.0]}
    """

    def __init__(self) -> None:
        self._inside, self._objects = merge_pairs([]), merge_pairs([])

    def add(self, labels: np.ndarray, pairs: Columns) -> np.ndarray:
        """Add objects and all their pairs; returns the cell of each, see :func:`cell_of`.

        Parameters
        ----------
        labels : (N,) uint64
            Objects.
        pairs : dict
            From :func:`merge_pairs`.
        """
        cells = cell_of(labels, pairs)
        found = cells[cells > 0]
        self._inside = merge_pairs([self._inside, _of_cells(pairs["cell"], pairs["voxels"])])
        self._objects = merge_pairs([self._objects, _of_cells(found, np.ones(len(found), np.int64))])
        return cells

    def table(self, sizes: Columns, voxel_nm3: float) -> Columns:
        """One row a cell.

        Parameters
        ----------
        sizes : dict
            ``cell``, ascending, and ``voxels`` of all cells; see :func:`cell_sizes`.
        voxel_nm3 : float
            Volume of a voxel.

        Returns
        -------
        dict
            ``cell``; ``voxels`` and ``volume_nm3`` of the cell; ``mitochondria``, the objects that lie mostly in it;
            ``mitochondria_nm3``, what of any object lies in it; ``fraction``, that as a part of the cell.
        """
        inside, objects = np.zeros((2, len(sizes["cell"])), np.int64)
        for counts, found in ((inside, self._inside), (objects, self._objects)):
            counts[np.searchsorted(sizes["cell"], found["cell"])] = found["voxels"]
        return {
            "cell": sizes["cell"],
            "voxels": sizes["voxels"],
            "volume_nm3": sizes["voxels"] * voxel_nm3,
            "mitochondria": objects,
            "mitochondria_nm3": inside * voxel_nm3,
            "fraction": inside / np.maximum(sizes["voxels"], 1),
        }


def _of_cells(cells: np.ndarray, counts: np.ndarray) -> Columns:
    """Voxels of each cell as pairs whose object is 0."""
    return {"label": np.zeros(len(cells), np.uint64), "cell": cells, "voxels": counts}
