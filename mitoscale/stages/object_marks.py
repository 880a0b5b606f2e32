"""Where objects may not be what they seem: beside padding, in replaced slices, beside blocks that were given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.grid import block_name
from mitoscale.core.plan import RunPlan
from mitoscale.ops.padding_detection import RIM, beside
from mitoscale.stages.network_view import padding_in
from mitoscale.stages.padding import any_padding, read_padding

Marks = dict[str, np.ndarray]
"""Kind of place -> (Z, Y, X) bool of a core; a kind that does not occur is left out."""

AROUND = (1, RIM, RIM)
"""How far around a core padding is looked for."""


def object_marks(
    plan: RunPlan, grey: VolumeGrey, core: Region, read_image: Callable[[Region], np.ndarray], lost: Mapping[str, frozenset[str]]
) -> Marks:
    """The voxels of a core that are ``padding`` (beside it), ``replaced`` (in a bad slice) or ``lost`` (beside a given-up block).

    Parameters
    ----------
    plan : RunPlan
        The run.
    grey : VolumeGrey
        Of its volume.
    core : Region
        Of a block.
    read_image : callable
        Reads a region's grey values as they are stored.
    lost : mapping
        For each earlier stage the tasks that were given up.
    """
    found = {
        "padding": _padding(plan, grey, core, read_image),
        "replaced": _replaced(plan, grey, core),
        "lost": _lost(plan, core, lost),
    }
    return {name: mark for name, mark in found.items() if mark is not None and mark.any()}


def _padding(plan: RunPlan, grey: VolumeGrey, core: Region, read_image: Callable[[Region], np.ndarray]) -> np.ndarray | None:
    """What is as near to padding as the networks do not see it; slices for which neighbours stand are none."""
    around = core.expanded(AROUND, within=plan.region)
    if not grey.padding_digest or not any_padding(plan, around.expanded((0, 32, 32), within=plan.region)):
        return None
    padding = padding_in(plan, grey, read_image(around), around)
    for bad in grey.replaced:
        if around.start[0] <= bad.z < around.stop[0]:
            padding[bad.z - around.start[0]] = False
    return beside(padding)[core.within(around)]


def _replaced(plan: RunPlan, grey: VolumeGrey, core: Region) -> np.ndarray | None:
    inside = [bad for bad in grey.replaced if core.start[0] <= bad.z < core.stop[0]]
    if not inside:
        return None
    mark = np.zeros(core.shape, bool)
    for bad in inside:
        plane = Region(start=(bad.z, *core.start[1:]), stop=(bad.z + 1, *core.stop[1:]))
        mark[bad.z - core.start[0]] = True if bad.whole else read_padding(plan, plane)[0]
    return mark


def _lost(plan: RunPlan, core: Region, lost: Mapping[str, frozenset[str]]) -> np.ndarray | None:
    around, mark = core.expanded((1, 1, 1), within=plan.region), np.zeros(core.shape, bool)
    for stage in ("convert", "detect", "segment", "relabel"):
        grid = plan.convert_grid if stage == "convert" else plan.grid
        for index in grid.meeting(around) if lost.get(stage) else ():
            part = grid.block(index).core.expanded((1, 1, 1), within=plan.region).intersection(core)
            if part is not None and block_name(index) in lost[stage]:
                mark[part.within(core)] = True
    return mark
