"""Two runs of one volume side by side: ``comparison.html``, and a table of what became of each object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from mitoscale.cluster.executor import Executor
from mitoscale.core.geometry import Region
from mitoscale.core.option_names import option_of, value_text
from mitoscale.core.plan import RunPlan
from mitoscale.core.provenance import Provenance
from mitoscale.core.quantities import volume_text
from mitoscale.core.settings import STAGES
from mitoscale.corrections.object_lists import ObjectLists
from mitoscale.evaluation.object_groups import KINDS
from mitoscale.evaluation.run_difference import RunDifference, difference_of
from mitoscale.report.build import Report
from mitoscale.report.colours import HERE, OTHERWISE, SHARED, THERE
from mitoscale.report.content import Table
from mitoscale.report.difference_pictures import Triple, triple_of
from mitoscale.report.group_table import group_rows
from mitoscale.report.html_parts import note, page, picture, table_of
from mitoscale.storage.arrays import open_array
from mitoscale.storage.atomic import replacing
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import write_csv

MEANING = {
    "matched": "one for one, at IoU 0.5 or above",
    "changed": "one for one, below IoU 0.5",
    "split": "one object there is several here",
    "merged": "several objects there are one here",
    "mixed": "several there are several others here",
    "missing": "there alone",
    "new": "here alone",
}
"""What the kinds of :data:`~mitoscale.evaluation.object_groups.KINDS` mean."""

_PICTURED = 12
"""Groups of objects that differ most and have pictures."""
_TOLD = 8
"""Labels of a group that are written out."""
_ELSEWHERE = {"source", "fingerprint"}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What was written."""

    page: str
    """``comparison.html``."""
    table: str
    """``tables/comparison.csv``: a row for each group of objects."""
    settings: int
    """Settings that differ."""
    difference: RunDifference
    """What was found."""

    @property
    def kinds(self) -> dict[str, int]:
        """How many groups there are of each kind."""
        counts = np.bincount(self.difference.groups.kind, minlength=len(KINDS))
        return {name: int(count) for name, count in zip(KINDS, counts, strict=True)}


def write_run_comparison(
    here: Report,
    there: RunPlan,
    *,
    executor: Executor | None = None,
    observer: Callable[[int, int], None] = lambda done, total: None,
) -> Compared:
    """Compare a run with another one of the same volume and write what differs.

    Parameters
    ----------
    here : Report
        The run that is told about, as its report sees it.
    there : RunPlan
        The run that it is compared with.
    executor : Executor, optional
        Where labels are compared; by default in this process.
    observer : callable
        Hears how many blocks are done, of how many.

    Raises
    ------
    InputError
        If they cannot be compared.
    StoppedError
        If something cannot be written, as on a full disk.
    """
    plan = here.plan
    found = difference_of(plan, there, executor=executor, scratch=plan.run, observer=observer)
    tables = ObjectLists.of_objects(plan.run), ObjectLists.of_objects(there.run)
    settings = settings_that_differ(plan, there)
    order = np.argsort(-found.groups.differ, kind="stable")
    table = str(Path(RunFolder(plan.run).objects).with_name("comparison.csv"))
    written = Compared(page=str(Path(plan.run, "comparison.html")), table=table, settings=len(settings.rows), difference=found)
    html = _page(here, there, written, settings, tables, order)
    write_csv(table, group_rows(found, order, tables, float(np.prod(plan.spec.spacing))))
    with replacing(written.page) as part:
        Path(part).write_text(html, encoding="utf-8")
    return written


def settings_that_differ(here: RunPlan, there: RunPlan) -> Table:
    """The settings of two runs that are not the same, by stage, as the command line spells them.

    Parameters
    ----------
    here, there : RunPlan
        The runs.
    """
    rows = []
    for stage in STAGES:
        a, b = (getattr(plan.settings, stage).model_dump(mode="json", exclude=_ELSEWHERE) for plan in (here, there))
        rows += [
            (stage, option_of(stage, name), value_text(name, a[name]), value_text(name, b[name]))
            for name in a
            if a[name] != b[name]
        ]
    if here.settings.threads != there.settings.threads:
        rows.append(("all", "threads", str(here.settings.threads), str(there.settings.threads)))
    return Table(head=("stage", "setting", "here", "there"), rows=rows)


def _page(
    here: Report,
    there: RunPlan,
    written: Compared,
    settings: Table,
    tables: tuple[ObjectLists, ObjectLists],
    order: np.ndarray,
) -> str:
    found, plan = written.difference, here.plan
    scores = {
        "F1 at IoU 0.5": found.objects["f1_50"],
        "F1 at IoU 0.75": found.objects["f1_75"],
        "voxels alike (IoU)": found.foreground["iou"],
    }
    alike = found.groups.kind == KINDS.index("matched")
    warnings = []
    if plan.region != there.region:
        warnings.append(f"The runs worked on different parts of the volume; compared is what both have: {found.region}.")
    return page(
        title=Path(plan.run).name + " against " + Path(there.run).name,
        subtitle=f"here: {plan.run} · there: {there.run}",
        brand="comparison of two runs",
        headline={
            "objects here": str(int(found.objects["n_pred"])),
            "objects there": str(int(found.objects["n_true"])),
            "matched one for one": str(int(np.count_nonzero(alike))),
            **{name: f"{value:.3f}" for name, value in scores.items()},
            "region": str(found.region),
        },
        warnings=warnings,
        sections={
            "Settings that differ": table_of(settings, "All settings are the same."),
            "Objects": table_of(_kinds(written, plan), "Neither run has an object.") + note(_ABOUT),
            "Volumes": table_of(_volumes(found, tables), "") + note(_WHOLE),
            "Largest differences": _pictures(here, there, found, tables, order),
        },
        footer=" ".join(("mitoscale", Provenance.of(plan.settings).version, Provenance.of(plan.settings).commit[:12])).strip(),
    )


_ABOUT = (
    "Two objects belong together where more than half of one of them lies in the other. All groups of them, those that differ most "
    "first, are in tables/comparison.csv. F1 takes the other run for the truth; it is the same the other way round."
)

_WHOLE = "Volumes of whole objects as they are in each run, also of what lies outside the part that both worked on."


def _kinds(written: Compared, plan: RunPlan) -> Table:
    groups, voxel = written.difference.groups, float(np.prod(plan.spec.spacing))
    rows = []
    for code, name in enumerate(KINDS):
        some = groups.kind == code
        if not some.any():
            continue
        sums = [int(values[some].sum()) for values in (groups.count_here, groups.count_there)]
        volumes = [volume_text(float(v[some].sum()) * voxel) for v in (groups.voxels_here, groups.voxels_there, groups.differ)]
        rows.append((name, MEANING[name], *map(str, sums), *volumes))
    head = ("what became of them", "", "objects here", "objects there", "volume here", "volume there", "not shared")
    return Table(head=head, rows=rows)


def _volumes(found: RunDifference, tables: tuple[ObjectLists, ObjectLists]) -> Table:
    rows = []
    for name, lists, labels in zip(("here", "there"), tables, (found.groups.labels_here, found.groups.labels_there), strict=True):
        volumes = lists.objects["volume_nm3"][np.isin(lists.objects["label"], labels)]
        if len(volumes):
            middle = [volume_text(float(v)) for v in (volumes.sum(), volumes.mean(), *np.quantile(volumes, [0.5, 0, 1]))]
            rows.append((name, str(len(volumes)), *middle))
    return Table(head=("run", "objects", "in all", "mean", "median", "smallest", "largest"), rows=rows)


def _pictures(
    here: Report, there: RunPlan, found: RunDifference, tables: tuple[ObjectLists, ObjectLists], order: np.ndarray
) -> str:
    plan, groups = here.plan, found.groups
    image = here.open_image()
    labels = open_array(f"{plan.labels}/0", missing="fill"), open_array(f"{there.labels}/0", missing="fill")
    shown = []
    for group in map(int, order[:_PICTURED]):
        box = _box(groups.members(group), tables, found.region)
        if box is None or not groups.differ[group]:
            continue
        normalisation = here.grey.normalisation
        made = triple_of(
            groups, group, box, image=image, labels=labels, grey=normalisation, spacing=plan.spec.spacing, within=found.region
        )
        shown.append(_triple(_caption(found, group, float(np.prod(plan.spec.spacing))), made))
    if not shown:
        return '<p class="none">The labels are the same.</p>'
    key = {SHARED: "both alike", HERE: "here alone", THERE: "there alone", OTHERWISE: "in both, as different objects"}
    legend = "".join(f'<li><i style="background:{colour}"></i>{text}</li>' for colour, text in key.items())
    return f'<ul class="key">{legend}</ul><div class="triples">{"".join(shown)}</div>'


def _triple(caption: str, made: Triple) -> str:
    panels = {f"slice {made.z}, here": made.here, "there": made.there, "what differs": made.both}
    return f'<div class="triple"><h3>{escape(caption)}</h3>{"".join(picture(text, data) for text, data in panels.items())}</div>'


def _caption(found: RunDifference, group: int, voxel: float) -> str:
    groups = found.groups
    here, there = (_listed(ids) for ids in groups.members(group))
    which = " · ".join(f"{name} {ids}" for name, ids in (("here", here), ("there", there)) if ids)
    return f"{KINDS[groups.kind[group]]}: {which} · {volume_text(float(groups.differ[group]) * voxel)} not shared"


def _listed(labels: np.ndarray) -> str:
    more = f" and {len(labels) - _TOLD} more" if len(labels) > _TOLD else ""
    return " ".join(map(str, labels[:_TOLD])) + more


def _box(members: tuple[np.ndarray, np.ndarray], tables: tuple[ObjectLists, ObjectLists], region: Region) -> Region | None:
    """What spans all objects of a group; None where no table knows one."""
    boxes = [lists.box(int(label)) for lists, labels in zip(tables, members, strict=True) for label in labels]
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    start, stop = (
        tuple(f(v) for v in zip(*s, strict=True)) for f, s in ((min, (b.start for b in known)), (max, (b.stop for b in known)))
    )
    return Region(start=start, stop=stop).intersection(region)
