"""The table of objects after corrections: objects that changed are measured anew, all others keep their rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.core.provenance import Provenance
from mitoscale.corrections.replay import Corrections
from mitoscale.ops.boundaries import areas, boundaries, merge_boundaries
from mitoscale.ops.cells import cell_of, cell_pairs, merge_pairs
from mitoscale.ops.object_table import finish_objects
from mitoscale.ops.objects import merge_objects, partial_objects
from mitoscale.stages.cell_mask import read_cells
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.stages.object_marks import Marks, object_marks
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import Columns, read_table, write_csv, write_table

_OF_SEGMENTER = ("segmenter_changed", "segmenter_score")
"""Not known of objects that people changed."""
_OF_BOUNDARY = ("contacts", "contact_nm2")
"""What changes of an object that touches one that changed."""


def objects_path(plan: RunPlan) -> str:
    """The table of corrected objects; beside it the same as text."""
    return str(Path(RunFolder(plan.run).objects).with_name("objects_corrected.parquet"))


def contacts_path(plan: RunPlan) -> str:
    """Pairs of corrected objects that touch."""
    return str(Path(RunFolder(plan.run).contacts).with_name("contacts_corrected.parquet"))


def write_tables(plan: RunPlan, corrected: Corrections) -> None:
    """Write ``objects_corrected.parquet``, ``.csv`` and ``contacts_corrected.parquet``.

    Parameters
    ----------
    plan : RunPlan
        The run.
    corrected : Corrections
        Its labels with corrections.
    """
    folder = RunFolder(plan.run)
    before, pairs = read_table(folder.objects), read_table(folder.contacts)
    touched = corrected.touched
    measure = _Measure(plan, corrected)
    near = _partners(pairs, touched) | _partners(measure.of(touched)[1], touched) - {0}
    measured, met = measure.of(touched | near)
    kept = ~_with(before["label"], touched)
    rows = {name: values[kept] for name, values in before.items()}
    beside = _with(measured["label"], near - touched)
    at = np.searchsorted(rows["label"], measured["label"][beside])
    for name in _OF_BOUNDARY:
        rows[name] = rows[name].copy()
        rows[name][at] = measured[name][beside]
    new = _with(measured["label"], touched)
    for name in _OF_SEGMENTER:
        measured[name] = np.full(len(measured["label"]), np.nan)
    if "cell" in rows:
        measured["cell"] = measure.cells(measured["label"])
    joined = {name: np.concatenate([rows[name], measured[name][new].astype(rows[name].dtype)]) for name in rows}
    order = np.argsort(joined["label"], kind="stable")
    table: Columns = {name: values[order] for name, values in joined.items()}
    table["accepted"] = np.isin(table["label"], np.array(sorted(corrected.accepted), np.uint64))
    metadata = {"mitoscale": Provenance.of(plan.settings).model_dump_json()}
    far = ~_with(pairs["label"], touched) & ~_with(pairs["other"], touched)
    once = (met["label"] < met["other"]) & (met["other"] > 0) & (_with(met["label"], touched) | _with(met["other"], touched))
    fresh = {"label": met["label"][once], "other": met["other"][once], "area_nm2": areas(met, plan.spec.spacing)[once]}
    contacts = {name: np.concatenate([pairs[name][far], fresh[name].astype(pairs[name].dtype)]) for name in pairs}
    write_table(contacts_path(plan), contacts, metadata=metadata)
    write_csv(str(Path(objects_path(plan)).with_suffix(".csv")), table)
    write_table(objects_path(plan), table, metadata=metadata)


class _Measure:
    """Partial sums and boundaries of blocks of the corrected labels, each block once."""

    def __init__(self, plan: RunPlan, corrected: Corrections) -> None:
        self._plan, self._corrected = plan, corrected
        self._done: dict[Triple, tuple[Columns, Columns]] = {}
        self._pairs: list[Columns] = []

    def of(self, labels: set[int]) -> tuple[Columns, Columns]:
        """Rows of some objects, and all boundaries in the blocks that they meet."""
        for label in labels:
            known = self._corrected.box(label)
            part = known[0].intersection(self._plan.region) if known else None
            for index in self._plan.grid.meeting(part) if part else ():
                if index not in self._done:
                    self._done[index] = self._block(self._plan.grid.block(index).core)
        sums = merge_objects([done[0] for done in self._done.values()])
        met = merge_boundaries([done[1] for done in self._done.values()])
        mine, around = _with(sums["label"], labels), _with(met["label"], labels)
        own = {name: values[around] for name, values in met.items()}
        table = finish_objects({n: v[mine] for n, v in sums.items()}, own, self._plan.spec.spacing, self._plan.region)
        return table, met

    def _block(self, core: Region) -> tuple[Columns, Columns]:
        plan = self._plan
        around = core.expanded((1, 1, 1), within=plan.region)
        labels = self._corrected.read(around)
        image, foreground = _voxels(plan.image, core), _voxels(RunFolder(plan.run).foreground, core)
        threshold = plan.settings.detect.threshold
        inner, marks = labels[core.within(around)], self._marks(core)
        sums = partial_objects(inner, image, foreground, marks=marks, core=core, threshold=threshold)
        if plan.settings.detect.mask:
            self._pairs.append(cell_pairs(inner, read_cells(plan.settings.detect.mask, core)))
        return sums, boundaries(labels, core=core, read=around)

    def cells(self, labels: np.ndarray) -> np.ndarray:
        """The cell of each of some measured objects."""
        return cell_of(labels, merge_pairs(self._pairs))

    def _marks(self, core: Region) -> Marks:
        """Padding and bad slices, but after clean, which removes what tells them. Of what people saw nothing is lost."""
        if not Path(RunFolder(self._plan.run).work).is_dir() or not Path(self._plan.image).is_dir():
            return {}
        return object_marks(self._plan, read_grey(self._plan), core, open_array(self._plan.image, missing="fill").read, {})


def _voxels(path: str, region: Region) -> np.ndarray | None:
    """Voxels, or None where the array was removed by clean."""
    return open_array(path, missing="fill").read(region) if Path(path).is_dir() else None


def _partners(pairs: Columns, touched: set[int]) -> set[int]:
    """Objects that touch one that changed."""
    some = _with(pairs["label"], touched) | _with(pairs["other"], touched)
    return {int(v) for name in ("label", "other") for v in pairs[name][some]}


def _with(labels: np.ndarray, some: set[int]) -> np.ndarray:
    return np.isin(labels, np.array(sorted(some), np.uint64))
