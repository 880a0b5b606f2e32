"""``mitoscale export``: other programs read what is written."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Call, Finished, check_refused, labels_of

from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table


@pytest.mark.parametrize("name", ["labels.tif", "labels.ome.tif"])
def test_one_file(mitoscale: Call, finished: Finished, tmp_path: Path, name: str) -> None:
    ended = mitoscale("export", finished.run, "--to", str(tmp_path / name))
    assert ended.code == 0, ended.err
    np.testing.assert_array_equal(tifffile.imread(tmp_path / name), labels_of(finished.run))
    with tifffile.TiffFile(tmp_path / name) as file:
        assert file.series[0].dtype == np.uint16 and file.is_ome == (".ome." in name)
        if file.is_ome:
            assert 'PhysicalSizeZUnit="nm"' in str(file.ome_metadata)
    assert mitoscale("evaluate", finished.run, str(tmp_path / name)).code == 0  # and we read it ourselves


def test_a_folder_of_slices(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    assert mitoscale("export", finished.run, "--to", str(tmp_path / "slices") + "/").code == 0
    names = sorted(p.name for p in (tmp_path / "slices").iterdir())
    assert names[0] == "000000.tif" and len(names) == 32
    stack = np.stack([tifffile.imread(tmp_path / "slices" / n) for n in names])
    np.testing.assert_array_equal(stack, labels_of(finished.run))
    again = mitoscale("export", finished.run, "--to", str(tmp_path / "slices") + "/")
    assert again.code == 1 and "holds other files" in again.err


@pytest.mark.parametrize("table", ["objects", "detections", "edges"])
def test_tables(mitoscale: Call, finished: Finished, tmp_path: Path, table: str) -> None:
    path = tmp_path / "table.csv"
    assert mitoscale("export", finished.run, "--to", str(path), "--table", table).code == 0
    folder = RunFolder(finished.run)
    columns = read_table({"objects": folder.objects, "detections": folder.detections, "edges": folder.edges_table}[table])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0] if rows else columns) == list(columns) and len(rows) == len(next(iter(columns.values())))


@pytest.mark.parametrize("target", ["labels.tif", "labels.ome.tif", "slices/", "slices.csv/"])
@pytest.mark.parametrize("table", ["objects", "edges"])
def test_a_table_is_never_written_as_labels(mitoscale: Call, finished: Finished, tmp_path: Path, target: str, table: str) -> None:
    ended = mitoscale("export", finished.run, "--to", f"{tmp_path}/{target}", "--table", table)
    assert ended.code == 2 and f"--table {table} is for a file that ends in .csv" in ended.err
    assert not list(tmp_path.iterdir())


def test_a_csv_gets_the_objects_where_no_table_is_named(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    assert mitoscale("export", finished.run, "--to", str(tmp_path / "x.csv")).code == 0
    columns = (tmp_path / "x.csv").read_text().splitlines()[0].replace('"', "").split(",")
    assert columns == list(read_table(RunFolder(finished.run).objects))


def test_what_cannot_be_exported(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    for target, said in (("labels.png", ".png is not known"), ("labels.tif", "no run folder")):
        run = str(tmp_path) if said == "no run folder" else finished.run
        ended = mitoscale("export", run, "--to", str(tmp_path / target))
        assert ended.code == 1 and said in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mine.tif", "mine.ome.tif", "mine.csv", "nowhere.tif", "mine.png/", "folder.tif", "folder.csv"])
def test_nothing_is_overwritten(mitoscale: Call, finished: Finished, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    if name.startswith("nowhere"):
        target.symlink_to(tmp_path / "gone.tif")
    elif name.startswith("folder"):
        target.mkdir()
    else:
        target.write_bytes(b"raw slices that nobody has twice")
    arguments = ["export", finished.run, "--to", str(tmp_path / name) + ("/" if name.endswith("/") else "")]
    check_refused(mitoscale, tmp_path, arguments, "exists already; give another name")


@pytest.mark.parametrize("name", ["tables/objects.csv", "tables/new.csv", "labels.tif", "slices/", "", "pictures/../labels.tif"])
def test_nothing_goes_into_the_run(mitoscale: Call, finished: Finished, tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(finished.run)
    for run in (finished.run, str(tmp_path / "link")):
        check_refused(mitoscale, Path(finished.run), ["export", finished.run, "--to", f"{run}/{name}"], "lies in the run folder")
