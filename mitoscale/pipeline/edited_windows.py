"""The windows of a run in which somebody has corrected something: labels to train on, where people have looked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mitoscale.core.edit import Edit, in_force
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.core.training_settings import UNLABELLED_VALUE
from mitoscale.corrections.replay import Corrections, places_of
from mitoscale.ops.trusted_labels import trusted_only
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.state import finished
from mitoscale.storage.arrays import open_array
from mitoscale.storage.edit_log import EditLog

_RIM_NM = 100.0
"""How far beside a corrected object pixels without one are taken for background."""

_PLACES = 3
"""Slices of an object that are taken, at most."""


def corrected_windows(run: Run, size: int) -> Iterator[tuple[Region, np.ndarray]]:
    """Windows of one slice around corrected and accepted objects, with the labels of what people have looked at.

    Parameters
    ----------
    run : Run
        Finished, and with corrections; ``mitoscale apply`` need not have written them.
    size : int
        Height and width of a window in voxels; smaller where the run's region is.

    Yields
    ------
    (region, labels)
        Labels (Y, X) int64; ``UNLABELLED_VALUE`` where nobody has looked.

    Raises
    ------
    InputError
        If nothing was corrected, or nothing of it fits any more.
    """
    plan = run.plan
    edits = in_force(EditLog(plan.run, plan.settings.convert.fingerprint).read())
    if not edits or not finished(run, "measure"):
        raise InputError(f"{plan.run} has no corrections to learn from; make some with mitoscale edit or mitoscale view")
    corrected, own = Corrections.of(plan, edits), open_array(f"{plan.labels}/0", missing="fill")
    points = [point for one in corrected.applied if not one.unfit for point in _points(one.edit)]
    places = [place for place in map(corrected.voxel, points) if place]
    if not places:
        raise InputError(f"no correction of {plan.run} fits its labels any more; mitoscale apply {plan.run} lists them")
    known = corrected.touched | corrected.accepted
    rim = (_RIM_NM / plan.spec.spacing[1], _RIM_NM / plan.spec.spacing[2])
    for region in _around(plan, places, size):
        after, before = corrected.read(region)[0], own.read(region)[0]
        labels = trusted_only(after, before, known=known, rim=rim, unknown=UNLABELLED_VALUE)
        if (labels != UNLABELLED_VALUE).any():
            yield region, labels


def _points(edit: Edit) -> list[Spacing]:
    """Places that stand for a correction: of each object a few, and all that were pointed at."""
    found = list(edit.points_nm)
    for thing in edit.objects:
        step = max(1, len(thing.inside_nm) // _PLACES)
        found += thing.inside_nm[::step][:_PLACES]
    if edit.drawing:
        found += places_of(edit.drawing.mask(), edit.drawing.region.start, edit.drawing.spacing_nm, most=_PLACES)
    return found


def _around(plan: RunPlan, places: list[Triple], size: int) -> list[Region]:
    """Windows that hold all places, each in its slice; those that lie in an earlier one's middle get none of their own."""
    found: list[Region] = []
    for z, y, x in sorted(places):
        if any(r.start[0] == z and _inner(r.start[1], r.stop[1], y) and _inner(r.start[2], r.stop[2], x) for r in found):
            continue
        spans = []
        for at, low, high in zip((y, x), plan.region.start[1:], plan.region.stop[1:], strict=True):
            start = max(low, min(at - size // 2, high - size))
            spans.append((start, min(start + size, high)))
        found.append(Region(start=(z, spans[0][0], spans[1][0]), stop=(z + 1, spans[0][1], spans[1][1])))
    return found


def _inner(start: int, stop: int, at: int) -> bool:
    """Whether a place lies in the middle half of a span."""
    return abs(2 * at - start - stop) <= (stop - start) / 2
