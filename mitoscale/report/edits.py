"""The report's part about corrections: what people have changed, what of it no longer fits, and whether it is written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mitoscale.core.edit import Edit, in_force
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing
from mitoscale.core.plan import RunPlan
from mitoscale.core.quantities import volume_text
from mitoscale.corrections.labels import corrected_labels, digest_of, is_current
from mitoscale.corrections.replay import Applied, Corrections
from mitoscale.corrections.tables import objects_path
from mitoscale.report.content import Part, Table
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.edit_log import EditLog
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.tables import read_table

_LISTED = 50


@dataclass(frozen=True, kw_only=True)
class EditsTold:
    """What the report says of corrections."""

    part: Part | None = None
    """Its section; None where nobody has corrected anything."""
    warnings: list[str] = field(default_factory=list)
    """What the reader must know first."""


def edits_of(plan: RunPlan) -> EditsTold:
    """What the report tells of a run's corrections, made on the labels there are now.

    Parameters
    ----------
    plan : RunPlan
        The run, which has been measured.
    """
    if is_remote(plan.run):
        return EditsTold()
    log = EditLog(plan.run, plan.settings.convert.fingerprint)
    if not log.path.exists():
        return EditsTold()
    try:
        every = log.read()
    except InputError as error:
        return EditsTold(warnings=[f"The corrections cannot be read: {error}."])
    kept = in_force(every)
    if not kept:
        return EditsTold()
    applied = Corrections.of(plan, kept).applied
    unfit = [one for one in applied if one.unfit]
    written = _written(plan, kept)
    figures = {"corrections": str(len(kept)), **_kinds(kept)}
    if unfit:
        figures["no longer fit"] = str(len(unfit))
    if written:
        table = read_table(objects_path(plan), ("volume_nm3", "accepted"))
        figures["mitochondria, corrected"] = str(len(table["accepted"]))
        figures["their volume, corrected"] = volume_text(float(table["volume_nm3"].sum()))
    taken_back = len([edit for edit in every if edit.kind != "undo"]) - len(kept)
    return EditsTold(
        part=Part(figures=figures, table=_table(applied), note=_note(plan, len(kept), taken_back, written)),
        warnings=list(_warnings(plan, len(kept), len(unfit), written)),
    )


def _written(plan: RunPlan, edits: list[Edit]) -> bool:
    """Whether ``mitoscale apply`` has written just these corrections on just these labels."""
    closing = Ledger(RunFolder(plan.run).ledger("relabel")).last("finished", plan.settings.token("relabel"))
    there = closing is not None and is_current(plan, digest_of(edits, closing.checksum))
    return there and Path(objects_path(plan)).is_file()


def _kinds(edits: Sequence[Edit]) -> dict[str, str]:
    names = {"merge": "merges", "split": "splits", "delete": "deletions", "add": "additions", "draw": "drawings"}
    counts = Counter(str(edit.kind) for edit in edits)
    return {name: str(counts[kind]) for kind, name in {**names, "accept": "acceptances"}.items() if counts[kind]}


def _table(applied: Sequence[Applied]) -> Table:
    rows = []
    for one in list(reversed(applied))[:_LISTED]:
        edit = one.edit
        rows.append(
            (
                time.strftime("%Y-%m-%d %H:%M", time.localtime(edit.time)),
                edit.who,
                f"{edit.kind} by {edit.drawing.model}" if edit.drawing else str(edit.kind),
                " ".join(str(place.label) for place in edit.objects),
                _place(edit),
                f"no longer fits: {one.unfit}" if one.unfit else "made" if one.changes or edit.kind == "accept" else "so already",
            )
        )
    return Table(head=("when", "who", "what", "objects", "at z, y, x (nm)", "on these labels"), rows=rows)


def _place(edit: Edit) -> str:
    places: Sequence[Spacing] = edit.points_nm or [place.inside_nm[0] for place in edit.objects if place.inside_nm]
    return " | ".join(", ".join(f"{v:.0f}" for v in place) for place in places[:2])


def _note(plan: RunPlan, kept: int, taken_back: int, written: bool) -> str:
    labels, table = (Path(path).name for path in (corrected_labels(plan), objects_path(plan)))
    told = [
        f"Written to labels/{labels} and tables/{table}." if written else f"Not written yet: mitoscale apply {plan.run} does.",
        f"Of {kept} the latest {_LISTED} are listed." if kept > _LISTED else "",
        f"{taken_back} more were taken back." if taken_back else "",
        "All of them are lines of edits.jsonl; mitoscale edit undo takes one back.",
    ]
    return " ".join(filter(None, told))


def _warnings(plan: RunPlan, kept: int, unfit: int, written: bool) -> list[str]:
    where = "the corrected labels lie beside them" if written else f"mitoscale apply {plan.run} writes the corrected ones"
    said = [f"People made {kept} correction{'s' * (kept > 1)}. All but that section is about the labels before; {where}."]
    if unfit:
        said.append(f"{unfit} of {kept} corrections no longer fit{'s' * (unfit == 1)} these labels; see Corrections.")
    return said
