"""What became of each object, as a table: a row for each group of objects of two runs that belong together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mitoscale.corrections.object_lists import ObjectLists
from mitoscale.evaluation.object_groups import KINDS
from mitoscale.evaluation.run_difference import RunDifference
from mitoscale.storage.tables import Columns


def group_rows(found: RunDifference, order: np.ndarray, tables: tuple[ObjectLists, ObjectLists], voxel: float) -> Columns:
    """A row for each group of objects.

    Parameters
    ----------
    found : RunDifference
        What two runs found differently.
    order : (G,) int
        The groups in the order of the rows.
    tables : pair of ObjectLists
        Of both runs.
    voxel : float
        Volume of a voxel in nm^3.
    """
    groups = found.groups
    where = [_centroids(lists, best) for lists, best in zip(tables, _first(found), strict=True)]
    centroid = np.where(np.isnan(where[0]), where[1], where[0])
    columns: Mapping[str, np.ndarray] = {
        "kind": np.array(KINDS)[groups.kind],
        "objects_here": groups.count_here,
        "objects_there": groups.count_there,
        "labels_here": _joined(groups.labels_here, groups.count_here),
        "labels_there": _joined(groups.labels_there, groups.count_there),
        "volume_here_nm3": groups.voxels_here * voxel,
        "volume_there_nm3": groups.voxels_there * voxel,
        "iou": groups.iou,
        "differ_nm3": groups.differ * voxel,
        **{f"centroid_{axis}_nm": centroid[:, i] for i, axis in enumerate("zyx")},
    }
    return {name: values[order] for name, values in columns.items()}


def _first(found: RunDifference) -> tuple[np.ndarray, np.ndarray]:
    """For each group a label of each side; 0 where it has none."""
    result = []
    groups = found.groups
    for labels, counts in ((groups.labels_here, groups.count_here), (groups.labels_there, groups.count_there)):
        starts = np.cumsum(counts) - counts
        result.append(np.where(counts > 0, np.append(labels, labels.dtype.type(0))[np.minimum(starts, len(labels))], 0))
    return result[0], result[1]


def _centroids(lists: ObjectLists, labels: np.ndarray) -> np.ndarray:
    """(G, 3) float64 in nm; NaN where the table does not know the label."""
    known = lists.objects["label"]
    at = np.minimum(np.searchsorted(known, labels), max(len(known) - 1, 0))
    places = np.full((len(labels), 3), np.nan)
    if len(known):
        there = known[at] == labels
        places[there] = np.stack([lists.objects[f"centroid_{a}_nm"][at[there]] for a in "zyx"], axis=1)
    return places


def _joined(labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    stops = np.cumsum(counts)
    texts = labels.astype(str)
    found = np.empty(len(counts), object)  # texts as long as they are: one long one would make all rows as wide
    found[:] = [" ".join(texts[b - n : b]) for b, n in zip(stops, counts, strict=True)]
    return found
