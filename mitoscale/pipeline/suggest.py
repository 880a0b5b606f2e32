"""The windows of a run that are worth annotating, as pairs of TIFFs that any editor opens and ``train`` takes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.learning import UNLABELLED_VALUE
from mitoscale.ops.doubt import doubt, most_doubtful
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.state import finished
from mitoscale.stages.grey import read_grey
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tiff_writing import write_tiff

_MOST_BLOCKS = 4096
"""Of a larger volume only so many blocks are looked at, evenly spread."""

_SLICES = 4
"""Slices of each block that are looked at."""

_CONTEXT_NM = 40.0
"""How far before and behind its slice a window reaches: what the embedded U-Net sees."""

LIST_NAME = "volumes.yaml"
"""The list for ``mitoscale train``."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window that is worth annotating."""

    region: Region
    """Its one slice."""
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


def write_windows(run: Run, windows: list[Window], out: Path) -> list[Path]:
    """Write image and labels of each window, and the list that ``mitoscale train`` takes.

    The image has the neighbouring slices that a U-Net sees; the labels hold what the run has found in the window's own slice, to be
    corrected, and in the others the value that means "not annotated".

    Parameters
    ----------
    run : Run
        Where the windows lie.
    windows : list of Window
        Which.
    out : Path
        An empty folder.

    Returns
    -------
    list of Path
        The files to edit.
    """
    plan = run.plan
    grey = read_grey(plan).normalisation
    image = open_array(plan.image, missing="fill")
    labels = open_array(f"{plan.labels}/0", missing="fill") if finished(run, "relabel") else None
    foreground = open_array(RunFolder(plan.run).foreground, missing="fill")
    reach = round(_CONTEXT_NM / plan.spec.spacing[0])
    entries, edited = [], []
    for number, window in enumerate(windows, start=1):
        z, y, x = window.region.start
        low, high = max(z - reach, plan.region.start[0]), min(z + reach + 1, plan.region.stop[0])
        whole = Region(start=(low, y, x), stop=(high, *window.region.stop[1:]))
        if labels is not None:
            _, numbers = np.unique(np.append(0, labels.read(window.region)), return_inverse=True)
            own = numbers[1:].reshape(window.region.shape).astype(np.uint16)
        else:
            own = (foreground.read(window.region) >= 255 * plan.settings.detect.threshold).astype(np.uint16)
        editable = np.full(whole.shape, UNLABELLED_VALUE, np.uint16)
        editable[z - low] = own[0]
        name = f"{number:02}_z{z}_y{y}_x{x}"
        write_tiff(str(out / f"{name}_image.tif"), grey.apply(image.read(whole)), plan.spec.spacing)
        write_tiff(str(out / f"{name}_labels.tif"), editable, plan.spec.spacing)
        edited.append(out / f"{name}_labels.tif")
        entries.append(
            {
                "name": name,
                "image": f"{name}_image.tif",
                "truth": f"{name}_labels.tif",
                "voxel_size": list(plan.spec.spacing),
                "unlabelled": UNLABELLED_VALUE,
                "normalised": True,
            }
        )
    (out / LIST_NAME).write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
    return edited
