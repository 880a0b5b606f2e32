"""Where the models were unsure: the map and the list are what the tables say, in bounded pieces, and tell when they are sampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Finished

from mitoscale.core.geometry import Region
from mitoscale.pipeline import load
from mitoscale.report.doubts import doubts_of
from mitoscale.report.uncertainty import doubt_map, most_doubted
from mitoscale.report.uncertainty_map import draw_doubt_map
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import Columns, appending, read_table, write_table

REGION = Region(start=(4, 0, 100), stop=(12, 96, 292))


def profiles(count: int) -> Columns:
    rng = np.random.default_rng(3)
    z, y, x = (rng.integers(a, b, count) for a, b in zip(REGION.start, REGION.stop, strict=True))
    score = rng.uniform(0.5, 1, count).astype(np.float32)
    return {"z": z, "y": y.astype(float), "x": x.astype(float), "score": score, "area": rng.integers(1, 90, count)}


def test_the_map_is_the_mean_over_the_profiles_of_each_cell(tmp_path: Path) -> None:
    table = profiles(2500)
    path = str(tmp_path / "detections.parquet")
    with appending(path) as append:
        for part in np.array_split(np.arange(2500), 7):
            append({name: values[part] for name, values in table.items()})
    found = doubt_map(path, REGION)
    assert (found.profiles, found.of) == (2500, 2500)
    assert found.along_z.shape == (48, 96) and found.along_y.shape == (4, 96)
    for cell in ((7, 30), (47, 95), (0, 0)):
        here = (table["y"] // 2 == cell[0]) & ((table["x"] - 100) // 2 == cell[1])
        doubt = 2 - 2 * table["score"][here].astype(float)
        expected = np.average(doubt, weights=table["area"][here]) if here.any() else np.nan
        assert found.along_z[cell] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    weighted = np.average(2 - 2 * table["score"].astype(float), weights=table["area"])
    assert np.nanmin(found.along_y) < weighted < np.nanmax(found.along_y)


def test_a_long_table_is_sampled_and_the_map_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / "detections.parquet")
    write_table(path, profiles(5000))
    found = doubt_map(path, REGION, most=1000)
    assert (found.profiles, found.of) == (1000, 5000)
    whole = doubt_map(path, REGION)
    assert abs(np.nanmean(found.along_y) - np.nanmean(whole.along_y)) < 0.05


def test_the_list_begins_with_what_is_doubted_most(finished: Finished, tmp_path: Path) -> None:
    table = read_table(RunFolder(finished.run).objects)
    table["mean_foreground"] = np.linspace(0.95, 0.6, 9)
    table["segmenter_score"] = np.where(np.arange(9) == 2, 0.1, np.nan)
    path = str(tmp_path / "objects.parquet")
    with appending(path) as append:
        for part in (slice(0, 4), slice(4, 9)):
            append({name: values[part] for name, values in table.items()})
    found = most_doubted(path, 4)
    assert found["label"].tolist() == table["label"][[2, 8, 7, 6]].tolist()
    assert found["doubt"][1] == pytest.approx(1 - 0.6 * table["detector_agreement"][8])


def test_the_report_has_map_list_and_pictures_also_after_clean(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = load(finished.run).plan
    image, grey = open_array(plan.image), read_grey(plan).normalisation
    content = doubts_of(plan, image, grey)
    assert content.chart.startswith(b"<?xml") and not content.note
    assert [row[0] for row in content.table.rows] == [str(i + 1) for i in range(9)] and len(content.pictures) == 9
    page = Path(RunFolder(finished.run).report).read_text()
    assert 'id="where-the-models-were-unsure"' in page and page.count('class="thumbnails"') == 1
    monkeypatch.setattr(RunFolder, "foreground", property(lambda folder: folder.path + "/gone"))
    again = doubts_of(plan, image, grey)
    assert len(again.pictures) == 9 and len(again.pictures[0][1]) < len(content.pictures[0][1])


def test_no_profile_no_map(tmp_path: Path) -> None:
    path = str(tmp_path / "detections.parquet")
    write_table(path, profiles(0))
    assert draw_doubt_map(doubt_map(path, REGION), {}, (5.0, 5.0, 5.0)) == b""
