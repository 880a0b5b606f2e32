"""The windows of a run that are worth annotating."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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

_MOST_BLOCKS = 4096
"""Of a larger volume only so many blocks are looked at, evenly spread."""

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
    """Windows in the middle of blocks, in a few slices each, and where in the grid they are."""
    grid = run.plan.grid
    for number in np.unique(np.linspace(0, len(grid) - 1, min(len(grid), _MOST_BLOCKS)).astype(int)):
        block = grid.numbered(int(number))
        start, stop = block.core.start, block.core.stop
        y, x = (max(a, (a + b - size) // 2) for a, b in zip(start[1:], stop[1:], strict=True))
        middles = {start[0] + (stop[0] - start[0]) * (2 * part + 1) // (2 * _SLICES) for part in range(_SLICES)}
        for z in sorted(middles):
            yield block.index, Region(start=(z, y, x), stop=(z + 1, min(y + size, stop[1]), min(x + size, stop[2])))


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
