"""Pictures of where two runs differ most: the image with the labels of each, and what they do not share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.normalisation import Normalisation
from mitoscale.evaluation.object_groups import Groups
from mitoscale.report.colours import HERE, OTHERWISE, SHARED, THERE, rgb_of
from mitoscale.report.pictures import encode, isotropic, view
from mitoscale.storage.arrays import Array
from mitoscale.storage.sources.reader import Reader

_OPACITY = 0.45
_WIDEST = 640
"""Most voxels along an edge of a picture."""
_PIXELS = 512
"""A small picture is enlarged by whole steps up to so many pixels."""
_LOOKED_AT = 16
"""Slices of a group from which the one that differs most is chosen."""
_AREA = 2**24
"""Most voxels of a slice that are read to choose; of a larger object its middle."""


@dataclass(frozen=True, kw_only=True)
class Triple:
    """A group of objects as three pictures of one slice."""

    z: int
    """The slice."""
    here: bytes
    """The image with the labels of the first run, encoded."""
    there: bytes
    """With those of the other."""
    both: bytes
    """With what they share and do not share."""


def triple_of(
    groups: Groups,
    group: int,
    box: Region,
    *,
    image: Array | Reader,
    labels: tuple[Array, Array],
    grey: Normalisation,
    spacing: Spacing,
    within: Region,
) -> Triple:
    """Pictures of a group in the slice that differs most.

    Parameters
    ----------
    groups : Groups
        All of them.
    group : int
        Which one.
    box : Region
        Where its objects lie.
    image, labels : Array
        The image, and the labels of both runs; anything with ``read``.
    grey : Normalisation
        What makes uint8 of the image.
    spacing : (z, y, x)
        Voxel size in nm.
    within : Region
        Where both runs have labels.
    """
    ids, best = groups.members(group), (groups.best_here[group], groups.best_there[group])
    z, y, x, most = box.start[0], 0, 0, -1
    for plane in _planes(box):
        pair = [array.read(plane)[0] for array in labels]
        differs = _differs(pair, ids, best)
        count = int(np.count_nonzero(differs))
        if count > most:
            at = np.argwhere(differs).mean(axis=0) if count else np.array(differs.shape) / 2
            z, y, x, most = plane.start[0], plane.start[1] + int(at[0]), plane.start[2] + int(at[1]), count
    shown = slice_around((z, y, x), box, within)
    pair = [array.read(shown)[0] for array in labels]
    plain = grey.apply(image.read(shown)[0])
    size = (spacing[1], spacing[2])
    return Triple(
        z=z,
        here=encode(view(plain, pair[0], size, within=_PIXELS)),
        there=encode(view(plain, pair[1], size, within=_PIXELS)),
        both=encode(_tinted(plain, pair, ids, best, size)),
    )


def _planes(box: Region) -> list[Region]:
    """Single slices of a box, evenly spread, cut to their middle where they are very large."""
    start, stop = list(box.start), list(box.stop)
    edge = int(_AREA**0.5)
    for axis in (1, 2):
        if stop[axis] - start[axis] > edge:
            start[axis] = (start[axis] + stop[axis] - edge) // 2
            stop[axis] = start[axis] + edge
    zs = np.unique(np.linspace(start[0], stop[0] - 1, min(_LOOKED_AT, stop[0] - start[0])).round().astype(int))
    return [Region(start=(int(z), start[1], start[2]), stop=(int(z) + 1, stop[1], stop[2])) for z in zs]


def slice_around(place: tuple[int, int, int], box: Region, within: Region) -> Region:
    """A slice around a place, a little larger than a box and no larger than a picture.

    Parameters
    ----------
    place : (z, y, x)
        What it shows, within the box.
    box : Region
        An object.
    within : Region
        What the slice does not leave: where there are voxels.

    Examples
    --------
    >>> inside = Region(start=(4, 0, 0), stop=(8, 100, 400))
    >>> str(slice_around((5, 20, 30), Region(start=(4, 10, 10), stop=(6, 30, 50)), within=inside))
    '5:6,0:84,0:104'
    """
    start, stop = [place[0]], [place[0] + 1]
    for axis in (1, 2):
        length = box.stop[axis] - box.start[axis]
        edge = min(length + 2 * max(32, length // 4), _WIDEST, within.shape[axis])
        middle = (box.start[axis] + box.stop[axis]) // 2 if edge < _WIDEST else place[axis]
        first = min(max(within.start[axis], middle - edge // 2), within.stop[axis] - edge)
        start.append(first)
        stop.append(first + edge)
    return Region(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))


def _sides(pair: list[np.ndarray], ids: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    return [np.isin(plane, some) for plane, some in zip(pair, ids, strict=True)]


def _differs(pair: list[np.ndarray], ids: tuple[np.ndarray, np.ndarray], best: tuple[np.generic, np.generic]) -> np.ndarray:
    """(Y, X) bool: pixels of the group that its best pair does not share."""
    here, there = _sides(pair, ids)
    result: np.ndarray = (here | there) & ~((pair[0] == best[0]) & (pair[1] == best[1]) & here & there)
    return result


def _tinted(
    grey: np.ndarray,
    pair: list[np.ndarray],
    ids: tuple[np.ndarray, np.ndarray],
    best: tuple[np.generic, np.generic],
    size: tuple[float, float],
) -> np.ndarray:
    here, there = _sides(pair, ids)
    differs = _differs(pair, ids, best)
    rgb = np.repeat(grey[..., None].astype(np.float32), 3, axis=2)
    kinds = ((here & there & ~differs, SHARED), (here & ~there, HERE), (there & ~here, THERE), (here & there & differs, OTHERWISE))
    for where, colour in kinds:
        rgb[where] = (1 - _OPACITY) * rgb[where] + _OPACITY * np.array(rgb_of(colour))
    pixel = min(size)
    extent = max(n * nm / pixel for n, nm in zip(grey.shape, size, strict=True))
    return isotropic(np.rint(rgb).astype(np.uint8), *size, pixel_nm=pixel / max(1, int(_PIXELS // extent)), smooth=True)
