"""Windows that stand for a volume: where there is tissue, spread over all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing
from mitoscale.evaluation.grey_volume import GreyVolume
from mitoscale.ops.padding_detection import CELL, flat_plane, flat_runs
from mitoscale.ops.slice_faults import states_of_stack

EDGE_NM = 2_560.0
"""Height and width of a window: several mitochondria wide."""

_TRIES = 8
"""Windows that are read at most for each that is wanted."""

_LEAST_TISSUE = 0.5
"""Part of a window, 0..1, that must not be flat."""

_LEAST_CONTRAST = 20.0
"""How far apart, 0..255, the darkest and the brightest tenth begin; less is empty resin, with dirt or without; tissue has 80."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window of one slice, with the neighbouring slices that a U-Net sees."""

    image: np.ndarray
    """(K, Y, X) uint8 normalised grey values."""
    own: int
    """Which of the slices is the window's own."""
    region: Region
    """Its own slice, in level-0 voxels."""
    padding: np.ndarray | None = None
    """(Y, X) bool of its own slice, into which tissue was mirrored; None: there is none."""


def tissue_windows(
    volume: GreyVolume, context_nm: tuple[float, ...], count: int, seed: int, part: Region | None = None, least: int = 2
) -> list[Window]:
    """Windows with tissue, no two of which overlap, in slices that are spread evenly.

    Windows that a bad slice (lost, blurred, of other brightness, ...) is seen in are taken only where there are too few others.

    Parameters
    ----------
    volume : GreyVolume
        The volume; only the windows are read.
    context_nm : tuple of float
        Distances of the neighbouring slices that a U-Net sees.
    count : int
        How many are wanted; fewer where the volume is small.
    seed : int
        Decides where in their slices they lie.
    part : Region, optional
        Where they are to lie, with their neighbouring slices; without it, anywhere.
    least : int
        How many there must be.

    Raises
    ------
    InputError
        If there are fewer.
    """
    shape, spacing = volume.source.shape, volume.spacing
    part = part or Region.of_shape(shape)
    reach = max(round(abs(nm) / spacing[0]) for nm in context_nm)
    found: list[Window] = []
    doubtful: list[Window] = []
    tried = 0
    for region in _candidates(part, spacing, count, seed):
        if len(found) == count or tried == _TRIES * count:
            break
        tried += 1
        z, y, x = region.start
        low, high = max(z - reach, part.start[0]), min(z + reach + 1, part.stop[0])
        image, padding = volume.read_tissue(Region(start=(low, y, x), stop=(high, *region.stop[1:])))
        if has_tissue(np.where(padding[z - low], 0, image[z - low])):
            sound = (states_of_stack(image, padding) == "good").all()
            (found if sound else doubtful).append(Window(image=image, own=z - low, region=region, padding=padding[z - low]))
    if len(found) < least:
        found += doubtful[: count - len(found)]
    if len(found) < least:
        raise InputError(
            f"{volume.source.path}: {tried} windows of {EDGE_NM / 1000:g} um all over it were looked at, and {len(found)} of them "
            f"hold tissue, where {least} are needed; is it the right volume, and --voxel-size right?"
        )
    return sorted(found, key=lambda w: w.region.start)


def has_tissue(plane: np.ndarray) -> bool:
    """Whether a slice of a window is mostly tissue: neither of one grey value, nor almost.

    Parameters
    ----------
    plane : (Y, X) uint8
        Normalised grey values.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(128, 40, (64, 64)).clip(0, 255).astype(np.uint8)
    >>> has_tissue(noise), has_tissue(np.full((64, 64), 90, np.uint8))
    (True, False)
    """
    cells = (-(-plane.shape[0] // CELL), -(-plane.shape[1] // CELL))
    flat = flat_plane(flat_runs(plane[None]), cells)
    return bool(1 - flat.mean() >= _LEAST_TISSUE and np.subtract(*np.quantile(plane, (0.9, 0.1))) >= _LEAST_CONTRAST)


def _candidates(part: Region, spacing: Spacing, count: int, seed: int) -> list[Region]:
    """Windows of one slice each: a first one in each of some evenly spread slices, then a second one in each, and so on."""
    shape = part.shape
    size = [min(n, max(64, round(EDGE_NM / s))) for n, s in zip(shape[1:], spacing[1:], strict=True)]
    starts = [np.linspace(0, n - s, n // s).round().astype(int) for n, s in zip(shape[1:], size, strict=True)]
    depth = min(shape[0], _TRIES * count)
    slices = np.unique(((np.arange(depth) + 0.5) * shape[0] / depth).astype(int))
    slices = slices[_spread_order(len(slices))]
    rng = np.random.default_rng(seed)
    places = {int(z): rng.permutation(len(starts[0]) * len(starts[1]))[: _TRIES * count] for z in slices}
    regions = []
    for turn in range(max(map(len, places.values()))):
        for z, order in places.items():
            if turn < len(order):
                row, column = divmod(int(order[turn]), len(starts[1]))
                low = (z + part.start[0], int(starts[0][row]) + part.start[1], int(starts[1][column]) + part.start[2])
                regions.append(Region(start=low, stop=(low[0] + 1, low[1] + size[0], low[2] + size[1])))
    return regions


def _spread_order(count: int) -> np.ndarray:
    """Numbers 0..count - 1, in an order of which any beginning is spread over all of them: a golden-ratio sequence's."""
    sequence = (np.arange(count) * 0.6180339887498949) % 1.0
    return np.argsort(np.argsort(sequence, kind="stable"), kind="stable")
