"""Making corrections: each is checked against the labels as they are, then kept as a line of ``edits.jsonl``."""

from __future__ import annotations

import getpass
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mitoscale.core.drawing import Drawing
from mitoscale.core.edit import Edit, Kind, ObjectPlace, in_force
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Triple
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.replay import Corrections, places_of
from mitoscale.ops.follow_slices import SLICES, Box
from mitoscale.storage.edit_log import EditLog

_LARGEST = 2**28
"""Voxels of a box that are read to find an object's places; of a larger object its coarse part is read."""


@dataclass
class Editor:
    """Corrects a run. Get one from :func:`editing`."""

    plan: RunPlan
    """The run."""
    log: EditLog
    """Where corrections are kept."""
    corrected: Corrections
    """The labels with the corrections so far."""
    _pen: Any = None
    """Loaded when something is drawn."""

    def merge(self, labels: Sequence[int]) -> Edit:
        """Make several objects one, which has the first one's label."""
        if len(set(labels)) < 2:
            raise InputError("a merge takes two objects or more, such as: merge 12 40")
        return self._keep("merge", objects=tuple(self._place(label) for label in dict.fromkeys(labels)))

    def split(self, label: int, first: Triple, second: Triple) -> Edit:
        """Cut an object between two of its voxels (z, y, x); the second one's part becomes a new object.

        Parameters
        ----------
        label : int
            The object.
        first, second : (z, y, x)
            Two of its voxels, one on each side of the cut.
        """
        for point in (first, second):
            self._within(point)
            found = self.corrected.label_at(self.nm(point))
            if found != label:
                there = f"object {found}" if found else "no object"
                raise InputError(f"{there} lies at {_text(point)}, not {label}; give two voxels z,y,x inside of {label}")
        if first == second:
            raise InputError(f"both points are {_text(first)}; give one in each part")
        return self._keep("split", objects=(self._place(label),), points=(first, second))

    def delete(self, labels: Sequence[int]) -> Edit:
        """Remove objects."""
        return self._keep("delete", objects=tuple(map(self._place, dict.fromkeys(labels))))

    def accept(self, labels: Sequence[int]) -> Edit:
        """Say that objects are right."""
        return self._keep("accept", objects=tuple(map(self._place, dict.fromkeys(labels))))

    def add(self, point: Triple) -> Edit:
        """Add what was missed: the connected foreground around a voxel (z, y, x) where there is no object."""
        self._within(point)
        found = self.corrected.label_at(self.nm(point))
        if found:
            raise InputError(f"object {found} lies at {_text(point)} already; split it, or give a voxel outside of objects")
        return self._keep("add", points=(point,))

    def draw(self, point: Triple, box: Box | None = None, slices: int = SLICES) -> Edit:
        """Add what SAM draws at a voxel, and in the slices on both sides of it for as long as it is sure.

        Parameters
        ----------
        point : (z, y, x)
            A voxel of the object.
        box : (y0, x0, y1, x1), optional
            A box around the object in that slice, half-open; the point lies in it.
        slices : int
            How many slices are followed on each side at most; 0: none.
        """
        self._within(point)
        if box is not None and not (box[0] < box[2] and box[1] < box[3]):
            raise InputError(
                f"box {','.join(map(str, box))} (y0,x0,y1,x1) is empty; the first corner lies above and left of the second"
            )
        if box is not None and not (box[0] <= point[1] < box[2] and box[1] <= point[2] < box[3]):
            raise InputError(f"voxel {_text(point)} is not in the box {','.join(map(str, box))} (y0,x0,y1,x1); give one that is")
        found = self.corrected.label_at(self.nm(point))
        if found:
            raise InputError(f"object {found} lies at {_text(point)} already; delete or split it first, or give another voxel")
        from mitoscale.corrections.drawing import SamPen, drawn  # loads torch, which no other correction needs

        if self._pen is None:
            self._pen = SamPen(self.plan)
        drawing = drawn(self.plan, self._pen, point, box, slices)
        taken = self._taken(drawing)
        if taken:
            raise InputError(
                f"most of what {drawing.model} draws at {_text(point)} lies in {taken} already; delete or split it, or give a box"
            )
        return self._keep("draw", points=(point,), drawing=drawing)

    def _taken(self, drawing: Drawing) -> str:
        """The objects that have half of a drawing or more; empty where it is free."""
        labels = self.corrected.read(drawing.region)[drawing.mask()]
        if np.count_nonzero(labels) < 0.5 * len(labels):
            return ""
        return "object " + ", ".join(str(label) for label in np.unique(labels[labels > 0])[:5])

    def undo(self, name: str = "") -> Edit:
        """Take a correction back, by default the latest that is in force."""
        there = in_force(self.log.read())
        if not there:
            raise InputError(f"{self.plan.run} has no correction to take back")
        name = name or there[-1].id
        if name not in {edit.id for edit in there}:
            raise InputError(f"there is no correction {name} in force; mitoscale edit {self.plan.run} list tells them")
        edit = self._edit("undo", undoes=name)
        self.log.append(edit)
        self.corrected = Corrections.of(self.plan, in_force(self.log.read()))
        return edit

    def _keep(
        self, kind: Kind, *, objects: tuple[ObjectPlace, ...] = (), points: tuple[Triple, ...] = (), drawing: Drawing | None = None
    ) -> Edit:
        edit = self._edit(kind, objects=objects, points_nm=tuple(map(self.nm, points)), drawing=drawing)
        made = self.corrected.add(edit)
        if made.unfit:
            self.corrected.applied.pop()
            raise InputError(f"{kind} cannot be done: {made.unfit}")
        self.log.append(edit)
        return edit

    def _edit(self, kind: Kind, **content: Any) -> Edit:
        volume = self.plan.settings.convert.fingerprint
        return Edit(id=uuid.uuid4().hex[:8], who=_who(), time=time.time(), volume=volume, kind=kind, **content)

    def _place(self, label: int) -> ObjectPlace:
        known = self.corrected.box(label)
        if known is None:
            raise InputError(f"there is no object {label} in {self.plan.run} (any more); its labels are in tables/objects.csv")
        box, voxels = known
        if box.size > _LARGEST:
            raise InputError(
                f"object {label} fills a box of {box.size / 1e6:.0f} Mvoxel; at most {_LARGEST / 1e6:.0f} are corrected"
            )
        places = places_of(self.corrected.read(box) == label, box.start, self.plan.spec.spacing)
        if not places:
            raise InputError(f"object {label} has no voxel in {self.plan.run}; are its labels being written?")
        return ObjectPlace(label=label, voxels=voxels, inside_nm=places)

    def nm(self, point: Triple) -> tuple[float, float, float]:
        """Where a voxel lies, (z, y, x)."""
        z, y, x = (float(v * s) for v, s in zip(point, self.plan.spec.spacing, strict=True))
        return z, y, x

    def _within(self, point: Triple) -> None:
        region = self.plan.region
        if not (np.array(region.start) <= point).all() or not (np.array(point) < region.stop).all():
            raise InputError(f"voxel {_text(point)} is not within {region}, which the run works on; give z,y,x")


@contextmanager
def editing(plan: RunPlan) -> Iterator[Editor]:
    """Be the only one who corrects a run meanwhile.

    Raises
    ------
    InputError
        If somebody else does, the folder is read-only, or its corrections are of another volume.
    """
    log = EditLog(plan.run, plan.settings.convert.fingerprint)
    with log.editing():
        yield Editor(plan, log, Corrections.of(plan, in_force(log.read())))


def told(edit: Edit) -> str:
    """A correction in one line, with its name, when it was made and by whom."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(edit.time))
    return " ".join((edit.id, when, edit.who, done(edit)))


def done(edit: Edit) -> str:
    """What a correction does, in few words."""
    what = " ".join(str(place.label) for place in edit.objects) or edit.undoes
    at = " and ".join(",".join(f"{v:g}" for v in point) for point in edit.points_nm)
    by = f"by {edit.drawing.model} in {edit.drawing.shape[0]} slices" if edit.drawing else ""
    return " ".join(filter(None, (edit.kind, what, by, f"at {at} nm" if at else "")))


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def _text(point: Triple) -> str:
    return ",".join(map(str, point))
