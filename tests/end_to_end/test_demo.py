"""The demo in its fast mode: many blocks and objects, scores, a report with pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Call, begin, contents, finish

from mitoscale.core.geometry import Region
from mitoscale.pipeline import load
from mitoscale.storage.tiff import open_tiff


@pytest.mark.slow
def test_demo_without_sam(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    ended = finish(begin("demo", str(folder), "--segmenter", "unet"))
    assert ended.code == 0, ended.err
    assert len(load(str(folder / "run")).plan.grid) >= 8
    truth = open_tiff(str(folder / "truth.tif"))
    assert truth.read(Region.of_shape(truth.shape)).max() >= 100
    made = next(line.split() for line in ended.err.splitlines() if "mitochondria made" in line)
    assert int(made[3]) / int(made[0]) >= 0.2  # so many of them touch
    scores = {}
    for name in ("foreground IoU", "3D F1 at IoU 0.5 "):
        line = next(line for line in ended.out.splitlines() if line.startswith(name))
        scores[name.strip()] = float(line.split()[-1])
    assert scores["foreground IoU"] >= 0.8 and scores["3D F1 at IoU 0.5"] >= 0.85
    other = finish(begin("demo", str(folder), "--segmenter", "sam"))
    assert other.code == 1 and "was made with --segmenter unet; give a new or empty folder for sam" in other.err
    page = (folder / "run" / "report.html").read_text()
    assert "Scores against truth" in page
    assert "data:image/" in page and len(list((folder / "run" / "pictures").glob("*.png"))) >= 3


def test_demo_leaves_other_folders_alone(mitoscale: Call, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    before = contents(tmp_path)
    ended = mitoscale("demo", str(tmp_path))
    assert ended.code == 1 and "other files" in ended.err and len(ended.err.splitlines()) == 1
    assert contents(tmp_path) == before


def test_a_segmenter_that_is_not_there_is_told_before_anything_is_made(mitoscale: Call, tmp_path: Path) -> None:
    ended = mitoscale("demo", str(tmp_path / "demo"), "--segmenter", "foo")
    assert ended.code != 0 and "'foo' is none of sam, unet" in ended.err and ended.err.count("\n") == 1
    assert not list(tmp_path.glob("demo/*"))
