"""What the report tells of corrections: each with what became of it on the labels there are, and whether it is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import Call, Finished, labels_of

from mitoscale.core.plan import RunPlan
from mitoscale.corrections.editor import editing
from mitoscale.pipeline import load
from mitoscale.report.edits import edits_of
from mitoscale.storage.layout import RunFolder


@pytest.fixture
def plan(finished: Finished, tmp_path: Path) -> RunPlan:
    shutil.copytree(finished.run, tmp_path / "run")
    return load(str(tmp_path / "run")).plan


def test_nothing_is_told_where_nobody_corrected(plan: RunPlan) -> None:
    assert edits_of(plan).part is None and not edits_of(plan).warnings
    with editing(plan) as editor:
        editor.delete([4])
        editor.undo()
    assert edits_of(plan).part is None


def test_each_correction_is_told_with_what_became_of_it(plan: RunPlan, mitoscale: Call) -> None:
    with editing(plan) as editor:
        editor.merge([2, 7])
        editor.delete([4])
        line = editor.accept([5])
    log = Path(plan.run) / "edits.jsonl"
    place = line.objects[0].model_copy(update={"voxels": line.objects[0].voxels * 100})
    log.write_text(log.read_text() + line.model_copy(update={"id": "grown", "objects": (place,)}).line() + "\n")
    told = edits_of(plan)
    assert told.part is not None
    assert told.part.figures == {"corrections": "4", "merges": "1", "deletions": "1", "acceptances": "2", "no longer fit": "1"}
    assert [row[2:4] for row in told.part.table.rows] == [("accept", "5"), ("accept", "5"), ("delete", "4"), ("merge", "2 7")]
    states = [row[-1] for row in told.part.table.rows]
    assert states[1:] == ["made"] * 3 and states[0].startswith("no longer fits: object 5, where 5 was, has")
    assert "Not written yet" in told.part.note and "4 corrections" in told.warnings[0] and "1 of 4" in told.warnings[1]
    assert mitoscale("apply", plan.run).code == 0
    written = edits_of(plan).part
    assert written is not None and "Written to labels/mitochondria_corrected" in written.note
    assert written.figures["mitochondria, corrected"] == str(len(set(labels_of(plan.run).flat)) - 1 - 2)


def test_the_report_is_made_anew_with_them_also_of_a_cleaned_run(plan: RunPlan, mitoscale: Call) -> None:
    assert mitoscale("clean", plan.run).code == 0
    page = Path(RunFolder(plan.run).report)
    assert "Corrections</h2>" not in page.read_text()
    with editing(plan) as editor:
        editor.delete([4])
    ended = mitoscale("report", plan.run)
    assert ended.code == 0 and str(page) in ended.out, ended.err
    assert "Corrections</h2>" in page.read_text() and "All but that section is about the labels before" in page.read_text()
    assert mitoscale("status", plan.run).code == 0, "the run is as finished as before"


def test_what_cannot_be_read_is_told(plan: RunPlan) -> None:
    (Path(plan.run) / "edits.jsonl").write_text("{}\n")
    told = edits_of(plan)
    assert told.part is None and "line 1 is no correction" in told.warnings[0]
