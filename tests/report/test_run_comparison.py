"""Two runs of one volume side by side: planted differences are told, and what cannot be compared is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Call, Finished, check_refused, contents, labels_of

from mitoscale.core.geometry import Region
from mitoscale.pipeline import load
from mitoscale.report.run_comparison import settings_that_differ
from mitoscale.storage.arrays import open_array

VOXEL = 1000.0
"""nm^3"""


@pytest.fixture(scope="module")
def other(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A copy of the run in which one object is gone, one is two, and two are one."""
    run = str(tmp_path_factory.mktemp("other") / "run")
    shutil.copytree(finished.run, run)
    labels = labels_of(run)
    gone, parted, first, second = (int(v) + 1 for v in np.argsort(-np.bincount(labels.ravel())[1:])[:4])
    labels[labels == gone] = 0
    labels[labels == second] = first
    place = np.nonzero(labels == parted)
    along = max(place, key=np.ptp)
    behind = along > np.quantile(along, 0.4)
    labels[tuple(axis[behind] for axis in place)] = labels.max() + 1
    plan = load(run).plan
    array = open_array(f"{plan.labels}/0")
    for block in plan.grid.blocks():
        array.write(block.core, labels[block.core.slices])
    return run


def test_planted_differences_are_told(mitoscale: Call, finished: Finished, other: str) -> None:
    before = contents(finished.run)
    ended = mitoscale("report", finished.run, "--against", other)
    assert ended.code == 0, ended.err
    assert "6 matched" not in ended.out and "5 matched, 1 split, 1 merged, 1 new" in ended.out, ended.out
    assert "9 here, 8 there" in ended.out and "0 settings differ" in ended.out
    page = Path(finished.run, "comparison.html").read_text()
    assert page.count('class="triple"') == 3, "each group that differs has pictures, and no other"
    for text in ("new: here", "split: here", "merged: here", "All settings are the same", "F1 at IoU 0.75"):
        assert text in page, text
    with open(Path(finished.run, "tables", "comparison.csv")) as file:
        rows = list(csv.DictReader(file))
    kinds = [row["kind"] for row in rows]
    assert sorted(kinds[:3]) == ["merged", "new", "split"] and set(kinds[3:]) == {"matched"}
    labels = labels_of(finished.run)
    new = next(row for row in rows if row["kind"] == "new")
    assert float(new["differ_nm3"]) == np.count_nonzero(labels == int(new["labels_here"])) * VOXEL
    made = {"comparison.html", "tables/comparison.csv"}
    assert {k: v for k, v in contents(finished.run).items() if k not in made} == before
    for name in made:
        Path(finished.run, name).unlink()


def test_the_other_way_round_split_is_merged_and_new_is_missing(mitoscale: Call, finished: Finished, other: str) -> None:
    ended = mitoscale("report", other, "--against", finished.run)
    assert ended.code == 0, ended.err
    assert "5 matched, 1 split, 1 merged, 1 missing" in ended.out, ended.out


def test_settings_that_differ_are_listed(finished: Finished) -> None:
    plan = load(finished.run).plan
    settings = plan.settings
    detect = settings.detect.model_copy(update={"threshold": 0.7, "mirror": True, "min_separation_nm": 90.0})
    segment = settings.segment.model_copy(update={"gate_nm": 30.0, "options": {}})
    convert = settings.convert.model_copy(update={"core": (16, 32, 32), "region": Region(start=(0, 0, 0), stop=(9, 8, 8))})
    changed = settings.model_copy(update={"convert": convert, "detect": detect, "segment": segment})
    table = settings_that_differ(plan, plan.model_copy(update={"settings": changed}))
    assert list(table.rows) == [  # as the command line spells them
        ("convert", "--block", ",".join(map(str, settings.convert.core)), "16,32,32"),
        ("convert", "--region", "0:32,0:128,0:128", "0:9,0:8,0:8"),
        ("detect", "--threshold", "0.5", "0.7"),
        ("detect", "--mirror", "no", "yes"),
        ("detect", "min_separation_nm", "120", "90"),
        ("segment", "--segmenter-option", f"truth={settings.segment.options['truth']}", "none"),
        ("segment", "--gate", "none", "30"),
    ]


def _convert(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plan: plan["settings"]["convert"].update(values)


def _thicker(plan: dict[str, Any]) -> None:
    for part in (plan["spec"], plan["settings"]["convert"]):
        part["spacing"] = [20, 10, 10]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_convert(fingerprint="another"), "is a run of another volume"),
        (lambda plan: plan["spec"].update(shape=[32, 128, 127]), "has shape (32, 128, 127)"),
        (_thicker, "has voxels of 20,10,10 nm"),
        (lambda plan: None, "has no finished labels and objects to compare"),
    ],
    ids=["volume", "shape", "voxel size", "unfinished"],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    mitoscale: Call, finished: Finished, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    run = Path(finished.run)
    content = json.loads((run / "run.json").read_text())
    change(content["plan"])
    (tmp_path / "run.json").write_text(json.dumps(content))
    check_refused(mitoscale, run, ["report", str(run), "--against", str(tmp_path)], said)


def test_the_same_run_or_none_is_refused(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    run = Path(finished.run)
    check_refused(mitoscale, run, ["report", str(run), "--against", str(run)], "is the same run")
    check_refused(mitoscale, run, ["report", str(run), "--against", str(tmp_path / "no")], "there is no folder")
