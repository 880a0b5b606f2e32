"""Corrections on labels: each edit is found again by its places, and what it changes is made while labels are read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mitoscale.core.edit import Edit, ObjectPlace
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.object_lists import ObjectLists
from mitoscale.ops.split import grown, inner_places, split_mask
from mitoscale.storage.arrays import Array, open_array
from mitoscale.storage.layout import RunFolder

LARGEST = 2**28
"""Voxels of the largest box that a split reads at once."""
ADDED_NM = 2_000.0
"""How far from its point what is added may reach."""
SAME_PLACE = 0.5
"""Part of an object's places that must lie in one object for it to be the same."""
SAME_SIZE = 3.0
"""How many times larger or smaller it may have become."""


class UnfitError(Exception):
    """An edit does not fit the labels there are now; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an edit does to voxels: ``old`` becomes ``new`` in a box, or in a part of it."""

    old: int
    new: int
    box: Region
    part: np.ndarray | None = None
    """(Z, Y, X) bool over the box; None: all of ``old``."""


@dataclass(frozen=True, kw_only=True)
class Applied:
    """An edit on the labels of a run."""

    edit: Edit
    changes: tuple[Change, ...] = ()
    """None where the labels are that way already."""
    unfit: str = ""
    """Why it could not be made; empty where it was."""


@dataclass
class Corrections:
    """Labels of a run with corrections. Get them from :meth:`of`.

    Examples
    --------
    >>> corrected = Corrections.of(plan, in_force(log.read()))  # doctest: +SKIP
    >>> corrected.read(region)  # doctest: +SKIP
    """

    plan: RunPlan
    labels: Array
    tables: ObjectLists
    applied: list[Applied] = field(default_factory=list)
    """Each edit, in order."""
    _boxes: dict[int, tuple[Region, int]] = field(default_factory=dict)
    """Box and voxels of objects that changed."""
    _changes: list[Change] = field(default_factory=list)
    _next: int = 0

    @classmethod
    def of(cls, plan: RunPlan, edits: Iterable[Edit]) -> Corrections:
        """The labels of a run with these corrections.

        Parameters
        ----------
        plan : RunPlan
            The run.
        edits : iterable of Edit
            Its corrections, in their order.
        """
        tables = ObjectLists.of_objects(plan.run)
        found = cls(plan, open_array(f"{plan.labels}/0", missing="fill"), tables)
        found._next = int(tables.objects["label"].max(initial=0)) + 1 if tables.objects else 1
        for edit in edits:
            found.add(edit)
        return found

    @property
    def unfit(self) -> list[Applied]:
        """The edits that no longer fit."""
        return [one for one in self.applied if one.unfit]

    @property
    def touched(self) -> set[int]:
        """Labels of all objects that changed, before and after; 0 is not one."""
        return {label for change in self._changes for label in (change.old, change.new)} - {0}

    @property
    def boxes(self) -> list[Region]:
        """Where voxels change."""
        return [change.box for change in self._changes]

    @property
    def accepted(self) -> set[int]:
        """Labels that somebody said are right, and that are still there."""
        found = set()
        for place in (p for one in self.applied if one.edit.kind == "accept" and not one.unfit for p in one.edit.objects):
            with suppress(UnfitError):  # a later correction, such as a split, may have changed it
                found.add(self.label_of(place))
        return found - {0}

    def read(self, region: Region) -> np.ndarray:
        """Corrected labels of a region, (Z, Y, X)."""
        labels = self.labels.read(region)
        for change in self._changes:
            common = change.box.intersection(region)
            if common is None:
                continue
            view = labels[common.within(region)]
            where = view == change.old
            if change.part is not None:
                where &= change.part[common.within(change.box)]
            view[where] = change.new
        return labels

    def box(self, label: int) -> tuple[Region, int] | None:
        """Box and voxels of an object; None where there is none."""
        if label in self._boxes:
            return self._boxes[label] if self._boxes[label][1] else None
        box, row = self.tables.box(label), self.tables.row(label)
        return (box, int(row["voxels"])) if box else None

    def label_at(self, place_nm: Spacing) -> int:
        """The object at a place; 0 outside the volume too."""
        voxel = self.voxel(place_nm)
        return 0 if voxel is None else int(self.read(_one(voxel))[0, 0, 0])

    def voxel(self, place_nm: Spacing) -> Triple | None:
        """The voxel at a place; None outside what was worked on."""
        z, y, x = (round(p / s) for p, s in zip(place_nm, self.plan.spec.spacing, strict=True))
        region = self.plan.region
        inside = all(a <= v < b for v, a, b in zip((z, y, x), region.start, region.stop, strict=True))
        return (z, y, x) if inside else None

    def label_of(self, place: ObjectPlace) -> int:
        """The object that an edit means, by what lies at its places; 0 where nothing lies there any more.

        Raises
        ------
        UnfitError
            If it is not clear which one, or that has another size.
        """
        labels = [self.label_at(inside) for inside in place.inside_nm]
        values, counts = np.unique(labels, return_counts=True)
        best = int(values[counts.argmax()])
        if counts.max() < SAME_PLACE * len(labels):
            raise UnfitError(f"what was object {place.label} is in pieces now")
        known = self.box(best)
        if best and known and not 1 / SAME_SIZE <= known[1] / place.voxels <= SAME_SIZE:
            raise UnfitError(f"object {best}, where {place.label} was, has {known[1]} voxels, not about {place.voxels}")
        return best

    def add(self, edit: Edit) -> Applied:
        """Make one more edit."""
        try:
            changes = getattr(self, f"_{edit.kind}")(edit)
            one = Applied(edit=edit, changes=tuple(changes))
        except UnfitError as why:
            one = Applied(edit=edit, unfit=str(why))
        self.applied.append(one)
        return one

    def _accept(self, edit: Edit) -> list[Change]:
        if not all(self.label_of(place) for place in edit.objects):
            raise UnfitError("it is gone")
        return []

    def _delete(self, edit: Edit) -> list[Change]:
        return [self._change(label, 0) for label in map(self.label_of, edit.objects) if label]

    def _merge(self, edit: Edit) -> list[Change]:
        labels = [self.label_of(place) for place in edit.objects]
        if 0 in labels:
            raise UnfitError(f"object {edit.objects[labels.index(0)].label} is gone")
        return [self._change(label, labels[0]) for label in dict.fromkeys(labels[1:]) if label != labels[0]]

    def _split(self, edit: Edit) -> list[Change]:
        a, b = (self.voxel(point) for point in edit.points_nm)
        if a is None or b is None:
            raise UnfitError("it was made outside of what this run works on")
        label, other = (int(self.read(_one(v))[0, 0, 0]) for v in (a, b))
        if label and other and label != other:
            return []  # they are two already
        if not label or not other:
            raise UnfitError("one of its two points lies in no object now")
        box, voxels = self.box(label) or (_one(a), 1)
        if box.size > LARGEST:
            raise UnfitError(
                f"object {label} fills a box of {box.size / 1e6:.0f} Mvoxel; at most {LARGEST / 1e6:.0f} are split at once"
            )
        mask = self.read(box) == label
        inside = [tuple(v - s for v, s in zip(point, box.start, strict=True)) for point in (a, b)]
        part = split_mask(mask, inside[0], inside[1], self.plan.spec.spacing, self._foreground(box))  # type: ignore[arg-type]
        change = self._new(label, box, part)
        self._boxes[label] = (box, voxels - int(part.sum()))
        return [change]

    def _add(self, edit: Edit) -> list[Change]:
        point = self.voxel(edit.points_nm[0])
        if point is None:
            raise UnfitError("it was made outside of what this run works on")
        if int(self.read(_one(point))[0, 0, 0]):
            return []  # something is there by now
        reach = tuple(math.ceil(ADDED_NM / s) for s in self.plan.spec.spacing)
        box = _one(point).expanded(reach, within=self.plan.region)  # type: ignore[arg-type]
        foreground = self._foreground(box)
        if foreground is None:
            raise UnfitError("the foreground is gone (mitoscale clean): nothing can be added")
        inside = tuple(v - s for v, s in zip(point, box.start, strict=True))
        part = grown(foreground, self.read(box) == 0, inside, self.plan.settings.detect.threshold)  # type: ignore[arg-type]
        if not part.any():
            raise UnfitError("there is no foreground at its point")
        return [self._new(0, box, part)]

    def _draw(self, edit: Edit) -> list[Change]:
        drawing = edit.drawing
        if drawing is None:
            raise UnfitError("its line holds no drawing")
        if drawing.spacing_nm != self.plan.spec.spacing:
            sizes = (",".join(f"{s:g}" for s in spacing) for spacing in (drawing.spacing_nm, self.plan.spec.spacing))
            raise UnfitError("it was drawn on voxels of {} nm, these are of {} nm".format(*sizes))
        box = drawing.region.intersection(self.plan.region)
        if box is None:
            raise UnfitError("it was made outside of what this run works on")
        mask = drawing.mask()[box.within(drawing.region)]
        free = mask & (self.read(box) == 0)
        if not free.any() or free.sum() <= (1 - SAME_PLACE) * mask.sum():
            return []  # something is there by now
        return [self._new(0, box, free)]

    def _new(self, old: int, box: Region, part: np.ndarray) -> Change:
        """A part of an object, or of the background, as an object of its own."""
        at = np.argwhere(part)
        low, high = at.min(0), at.max(0) + 1
        small = Region(start=tuple(low.tolist()), stop=tuple(high.tolist())).shifted(box.start)
        change = Change(old=old, new=self._next, box=small, part=part[small.within(box)].copy())
        self._boxes[self._next] = (small, len(at))
        self._next += 1
        self._changes.append(change)
        return change

    def _change(self, label: int, new: int) -> Change:
        """The change that gives a whole object another label."""
        box, voxels = self.box(label) or (_one((0, 0, 0)), 0)
        change = Change(old=label, new=new, box=box)
        if new:
            other, size = self.box(new) or (box, 0)
            start, stop = tuple(map(min, box.start, other.start)), tuple(map(max, box.stop, other.stop))
            self._boxes[new] = (Region(start=start, stop=stop), size + voxels)
        self._boxes[label] = (box, 0)
        self._changes.append(change)
        return change

    def _foreground(self, region: Region) -> np.ndarray | None:
        path = RunFolder(self.plan.run).foreground
        return open_array(path, missing="fill").read(region) if Path(path).is_dir() else None  # clean removes it


def places_of(mask: np.ndarray, corner: Triple, spacing: Spacing, most: int = 16) -> tuple[Spacing, ...]:
    """Places (z, y, x) in nm well within an object, spread over all of it.

    Parameters
    ----------
    mask : (Z, Y, X) bool
        The object.
    corner : (z, y, x)
        Voxel at which the mask begins.
    spacing : (z, y, x)
        Voxel size in nm.
    most : int
        So many places at most.
    """
    found = [[float((v + c) * s) for v, c, s in zip(voxel, corner, spacing, strict=True)] for voxel in inner_places(mask, most)]
    return tuple((z, y, x) for z, y, x in found)


def _one(voxel: Triple) -> Region:
    z, y, x = voxel
    return Region(start=voxel, stop=(z + 1, y + 1, x + 1))
