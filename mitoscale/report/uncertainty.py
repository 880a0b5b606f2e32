"""Where the models of a run were unsure: a map over the volume, and the objects in doubt most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.ops.object_doubt import object_doubt, profile_doubt
from mitoscale.storage.tables import Columns, batches_of, row_count

_CELLS = 24, 96
"""Fewest and most cells along the longest edge of the map: of few profiles small cells would be lost on the page."""
MOST_PROFILES = 4_000_000
"""About so many profiles are counted for the map; of more every n-th."""
_OF_OBJECTS = (
    "label",
    "volume_nm3",
    *(f"centroid_{a}{unit}" for a in "zyx" for unit in ("", "_nm")),
    *(f"bbox_{a}{side}" for a in "zyx" for side in (0, 1)),
    "mean_foreground",
    "detector_agreement",
    "segmenter_score",
)


@dataclass(frozen=True, kw_only=True)
class DoubtMap:
    """Mean doubt of the profiles in cells of a region, seen along z and along y."""

    region: Region
    """What the maps span."""
    along_z: np.ndarray
    """(Y', X') float64 0..1; NaN where no profile lies."""
    along_y: np.ndarray
    """(Z', X') the same."""
    profiles: int
    """Profiles that were counted."""
    of: int
    """Profiles there are."""


def doubt_map(detections: str, region: Region, *, most: int = MOST_PROFILES) -> DoubtMap:
    """The map, from the table of detections a piece at a time: memory follows the map, not the table.

    Parameters
    ----------
    detections : str
        The table.
    region : Region
        What was worked on.
    most : int
        About so many profiles are counted; of more every n-th.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    of = row_count(detections)
    edge = max(region.shape) / np.clip(2 * np.sqrt(of), *_CELLS)
    counts: Triple = tuple(max(1, min(n, round(n / edge))) for n in region.shape)
    shapes = (counts[1], counts[2]), (counts[0], counts[2])
    sums = [np.zeros((2, *shape)) for shape in shapes]
    read = 0
    step = max(1, -(-of // most))
    for batch in batches_of(detections, ("z", "y", "x", "score", "area")):
        piece = {name: values[::step] for name, values in batch.items()}
        read += len(piece["z"])
        for total, shape, axes in zip(sums, shapes, ((1, 2), (0, 2)), strict=True):
            total += _binned(piece, region, shape, axes)
    maps = [np.where(total[1] > 0, total[0] / np.maximum(total[1], 1), np.nan) for total in sums]
    return DoubtMap(region=region, along_z=maps[0], along_y=maps[1], profiles=read, of=of)


def _binned(piece: Columns, region: Region, shape: tuple[int, int], axes: tuple[int, int]) -> np.ndarray:
    """(2, H, W) sums over profiles, weighted by their area: doubt, and weight."""
    cells = []
    for axis, count in zip(axes, shape, strict=True):
        part = (piece["zyx"[axis]] - region.start[axis]) / region.shape[axis]
        cells.append(np.clip((part * count).astype(np.int64), 0, count - 1))
    flat, weight = cells[0] * shape[1] + cells[1], piece["area"].astype(float)
    both = [np.bincount(flat, weights=w, minlength=shape[0] * shape[1]) for w in (weight * profile_doubt(piece["score"]), weight)]
    return np.stack(both).reshape(2, *shape)


def most_doubted(objects: str, count: int) -> Columns:
    """The objects in doubt most, a piece of the table at a time; column ``doubt`` beside some of the table's.

    Parameters
    ----------
    objects : str
        The table of objects.
    count : int
        How many; the first is in doubt most, and of equals the one with the smaller label.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    kept: Columns = {}
    for piece in batches_of(objects, _OF_OBJECTS):
        piece["doubt"] = object_doubt(piece["mean_foreground"], piece["detector_agreement"], piece["segmenter_score"])
        together = {name: np.concatenate([kept[name], piece[name]]) for name in piece} if kept else piece
        order = np.lexsort((together["label"], -together["doubt"]))[:count]
        kept = {name: values[order] for name, values in together.items()}
    return kept


def boxes_of(rows: Columns) -> Iterator[Region]:
    """The box of each row."""
    for i in range(len(rows["label"])):
        low, high = ([int(rows[f"bbox_{a}{side}"][i]) for a in "zyx"] for side in (0, 1))
        yield Region(start=(low[0], low[1], low[2]), stop=(high[0], high[1], high[2]))
