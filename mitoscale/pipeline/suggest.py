"""The windows of a run that are worth annotating."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.ops.doubt import doubt, most_doubtful
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.state import finished
from mitoscale.pipeline.window_pairs import numbered_anew
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder

_MOST_PLACES = 4096
"""Of a larger volume only in so many places are windows looked at, in blocks that are evenly spread."""

_MOST_ALONG = 4
"""Places along an edge of a block, at most: as many as windows fit in, but for small ones."""

_SLICES = 4
"""Slices of each block that are looked at."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window that is worth annotating."""

    region: Region
    """Where it lies: one slice thick, in voxels."""
    doubt: float
    """See :func:`mitoscale.ops.doubt.doubt`."""


def suggested(run: Run, count: int, size: int) -> list[Window]:
    """The most doubtful windows of a run, no two of them neighbours where that can be avoided.

    Parameters
    ----------
    run : Run
        Detected at least; where its labels are finished, contradictions between them and the foreground count too.
    count : int
        How many are wanted.
    size : int
        Height and width of a window in voxels; smaller where a block is.

    Raises
    ------
    InputError
        If nothing is detected yet, the working files are gone, or there is nothing in doubt.
    """
    folder = RunFolder(run.plan.run)
    if not finished(run, "detect") or not Path(folder.foreground).is_dir():
        raise InputError(
            f"{run.plan.run} has no foreground to doubt: finish mitoscale detect first (mitoscale clean removes it; "
            "--redo detect makes it anew)"
        )
    foreground = open_array(folder.foreground, missing="fill")
    labels = open_array(f"{run.plan.labels}/0", missing="fill") if finished(run, "relabel") else None
    threshold = run.plan.settings.detect.threshold
    windows: list[Window] = []
    places: list[Triple] = []
    for place, region in _candidates(run, size):
        own = None if labels is None else labels.read(region)[0]
        windows.append(Window(region=region, doubt=doubt(foreground.read(region)[0], own, threshold)))
        places.append(place)
    if not any(window.doubt for window in windows):
        raise InputError(f"{run.plan.run}: nothing is in doubt in the slices that were looked at; annotate any of them")
    return [windows[i] for i in most_doubtful([w.doubt for w in windows], places, count)]


def _candidates(run: Run, size: int) -> Iterator[tuple[Triple, Region]]:
    """Windows all over blocks, in a few slices each, and where they are in a grid of windows."""
    grid = run.plan.grid
    across = [max(1, min(_MOST_ALONG, n // size)) for n in grid.core_shape[1:]]
    most = max(1, _MOST_PLACES // math.prod(across))
    pictures = grid.margin[0] == 0  # of which none has neighbours
    for number in np.unique(np.linspace(0, len(grid) - 1, min(len(grid), most)).astype(int)):
        block = grid.numbered(int(number))
        (first, *start), (last, *stop) = block.core.start, block.core.stop
        rows, columns = (_places(*edge, size) for edge in zip(start, stop, strict=True))
        for z in sorted({first + (last - first) * (2 * part + 1) // (2 * _SLICES) for part in range(_SLICES)}):
            for (i, y), (j, x) in product(enumerate(rows), enumerate(columns)):
                place = (2 * z if pictures else block.index[0], block.index[1] * across[0] + i, block.index[2] * across[1] + j)
                yield place, Region(start=(z, y, x), stop=(z + 1, min(y + size, stop[0]), min(x + size, stop[1])))


def _places(start: int, stop: int, size: int) -> list[int]:
    """Where windows begin along an edge of a block: side by side as far as they fit, one alone in its middle."""
    count = min(_MOST_ALONG, (stop - start) // size)
    if count < 2:
        return [max(start, (start + stop - size) // 2)]
    return np.linspace(start, stop - size, count).round().astype(int).tolist()


def with_labels(run: Run, windows: list[Window]) -> Iterator[tuple[Region, np.ndarray]]:
    """Windows with what the run has found in them, to be corrected: labels, or where there are none yet, its foreground.

    Parameters
    ----------
    run : Run
        Where the windows lie.
    windows : list of Window
        From :func:`suggested`.
    """
    plan = run.plan
    labels = open_array(f"{plan.labels}/0", missing="fill") if finished(run, "relabel") else None
    foreground = open_array(RunFolder(plan.run).foreground, missing="fill")
    for window in windows:
        if labels is not None:
            yield window.region, numbered_anew(labels.read(window.region)[0])
        else:
            found = foreground.read(window.region)[0] >= 255 * plan.settings.detect.threshold
            yield window.region, found.astype(np.uint16)
