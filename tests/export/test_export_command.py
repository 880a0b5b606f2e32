"""``mitoscale export`` with ``--region``, ``--level`` and ``--kind``; what is wrong leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import mrcfile
import numpy as np
import pyarrow.csv
import pytest
import tifffile
from commands import Call, check_refused, labels_of, largest_file

from mitoscale.cli.export import KINDS as OFFERED
from mitoscale.core.geometry import Region
from mitoscale.export.all_kinds import KINDS
from mitoscale.export.level import Level
from mitoscale.storage.exclusive import exclusively
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.tables import read_table

PART = Region(start=(1, 8, 60), stop=(7, 41, 200))


def test_the_command_offers_all_kinds() -> None:
    assert set(OFFERED) == {kind.name for kind in KINDS}


def test_a_part_of_a_level(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    ended = mitoscale("export", layered, "--to", f"{tmp_path}/x.tif", "--region", str(PART), "--level", "1")
    assert ended.code == 0, ended.err
    found = tifffile.imread(tmp_path / "x.tif")
    np.testing.assert_array_equal(found, labels_of(layered, 1)[1:7, 4:21, 30:100])
    assert found.any()


def test_the_kind_may_be_named(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    assert mitoscale("export", layered, "--to", f"{tmp_path}/x.bin", "--kind", "tiff", "--region", ":,:,:50").code == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x.bin"), labels_of(layered)[:, :, :50])


@pytest.mark.parametrize("table", ["objects", "detections"])
def test_a_part_of_a_table(mitoscale: Call, layered: str, tmp_path: Path, table: str) -> None:
    path = tmp_path / "x.csv"
    assert mitoscale("export", layered, "--to", str(path), "--table", table, "--region", str(PART)).code == 0
    folder = RunFolder(layered)
    found, all_rows = pyarrow.csv.read_csv(path).to_pydict(), read_table(getattr(folder, table))
    if table == "objects":
        inside = np.unique(labels_of(layered)[PART.slices])
        boxes = {label for label in all_rows["label"] if label in found["label"]}
        assert set(inside[inside > 0]) <= boxes < set(all_rows["label"])
    else:
        assert 0 < len(found["z"]) < len(all_rows["z"])
        assert all(60 <= x < 200 for x in found["x"]) and all(1 <= z < 7 for z in found["z"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--region", "0:4,0:48,0:281"], "leaves the volume"),
        (["--region", "4:4,0:48,0:280"], "is empty"),
        (["--level", "9"], "--level 9 is not there"),
    ],
)
@pytest.mark.parametrize("kind", sorted(kind.name for kind in KINDS if kind.labels))
def test_what_is_not_there(mitoscale: Call, layered: str, tmp_path: Path, kind: str, options: list[str], said: str) -> None:
    check_refused(mitoscale, tmp_path, ["export", layered, "--to", f"{tmp_path}/x", "--kind", kind, *options], said)


def test_a_table_has_no_level(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    ended = mitoscale("export", layered, "--to", f"{tmp_path}/x.csv", "--level", "1")
    assert ended.code == 2 and "--level 1 is for labels" in ended.err


def test_a_part_that_was_not_worked_on(mitoscale: Call, tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 255, (4, 64, 64)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", volume, photometric="minisblack")
    run, truth = str(tmp_path / "run"), str(tmp_path / "t.npy")
    np.save(truth, np.zeros(volume.shape, np.uint8))
    common = ["--voxel-size", "10,10,10", "--block", "4,32,32", "--region", "0:4,0:32,0:64"]
    assert mitoscale("convert", str(tmp_path / "x.tif"), run, *common).code == 0
    check_refused(mitoscale, tmp_path, ["export", run, "--to", f"{tmp_path}/y.tif"], "no finished labels yet")
    arguments = ["export", run, "--to", f"{tmp_path}/y.csv", "--region", "0:4,32:64,0:64"]
    check_refused(mitoscale, tmp_path, arguments, "holds no labels")


@pytest.mark.parametrize("kind", sorted(kind.name for kind in KINDS))
def test_a_full_disk_leaves_nothing(mitoscale: Call, layered: str, tmp_path: Path, kind: str) -> None:
    with largest_file(100):
        ended = mitoscale("export", layered, "--to", f"{tmp_path}/x", "--kind", kind)
    assert ended.code == 4 and "File too large; free or repair the disk" in ended.err, ended.err
    assert len(ended.err.splitlines()) == 1 and "os_error_code" not in ended.err
    assert f"cannot write {tmp_path}/x" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", sorted(kind.name for kind in KINDS))
def test_what_is_there_stays(mitoscale: Call, layered: str, tmp_path: Path, kind: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").write_text("that nobody has twice")
    check_refused(mitoscale, tmp_path, ["export", layered, "--to", f"{tmp_path}/x", "--kind", kind], "holds other files")


def test_labels_numbered_anew(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    """Only those of the part, and a table of what they were."""
    path = tmp_path / "x.mrc"
    ended = mitoscale("export", layered, "--to", str(path), "--renumber", "--region", ":,:,130:")
    assert ended.code == 0, ended.err
    with mrcfile.open(path) as file:
        found = file.data.astype(int)
    names = pyarrow.csv.read_csv(f"{path}.labels.csv").to_pydict()
    expected = labels_of(layered)[:, :, 130:]
    assert names["label"] == list(range(1, len(names["label"]) + 1)) and names["label_in_run"] == np.unique(expected)[1:].tolist()
    np.testing.assert_array_equal(np.array([0, *names["label_in_run"]])[found], expected)
    assert names["label_in_run"][0] > 1
    again = mitoscale("export", layered, "--to", f"{tmp_path}/y.n5", "--renumber")
    assert again.code == 1 and "keeps the labels of the run" in again.err
    path.unlink()
    check_refused(mitoscale, tmp_path, ["export", layered, "--to", str(path), "--renumber"], "labels.csv exists already")


def test_a_disk_too_small_for_an_mrc(mitoscale: Call, layered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.export.mrc_file.free_bytes", lambda path: 1000)
    check_refused(mitoscale, tmp_path, ["export", layered, "--to", f"{tmp_path}/x.mrc"], "are free; give a --region or a --level")


@pytest.mark.parametrize("name", ["x.n5", "x.n5/", "x.zarr", "x.ome.zarr/"])
def test_folders_by_their_ending(mitoscale: Call, layered: str, tmp_path: Path, name: str) -> None:
    assert mitoscale("export", layered, "--to", f"{tmp_path}/{name}", "--level", "1").code == 0
    found = open_reader(str(tmp_path / name), labels=True)
    np.testing.assert_array_equal(found.read(Region.of_shape(found.shape)), labels_of(layered, 1))
    (path,) = tmp_path.iterdir()  # and nothing beside it
    assert mitoscale("evaluate", str(path), str(path)).code == 0


@pytest.fixture(scope="module")
def empty(mitoscale: Call, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run that has found nothing."""
    folder = tmp_path_factory.mktemp("empty")
    volume = np.random.default_rng(0).integers(0, 255, (2, 33, 40)).astype(np.uint8)
    tifffile.imwrite(folder / "x.tif", volume, photometric="minisblack")
    np.save(folder / "t.npy", np.zeros(volume.shape, np.uint8))
    run, truth = str(folder / "run"), f"truth={folder / 't.npy'}"
    common = ["--voxel-size", "10,10,10", "--block", "2,32,32", "--workers", "1"]
    assert mitoscale("convert", str(folder / "x.tif"), run, *common).code == 0
    models = ["--detector", "known_truth:detector", "--detector-option", truth, "--segmenter", "unet", "--workers", "1"]
    for stage in ("detect", "segment", "stitch", "relabel", "measure"):
        ended = mitoscale(stage, run, *models)
        assert ended.code == 0, ended.err
    return run


@pytest.mark.parametrize("kind", sorted(kind.name for kind in KINDS))
def test_a_run_without_objects(mitoscale: Call, empty: str, tmp_path: Path, kind: str) -> None:
    ended = mitoscale("export", empty, "--to", f"{tmp_path}/x", "--kind", kind)
    assert ended.code == 0, ended.err
    (path,) = tmp_path.iterdir()
    assert path.name == "x"
    if kind == "precomputed":
        assert json.loads((path / "labels" / "segment_properties" / "info").read_text())["inline"]["ids"] == []
    if kind == "coco":
        assert json.loads((path / "annotations.json").read_text())["annotations"] == []
    if kind == "mobie":
        assert len((path / "volume" / "tables" / "mitochondria" / "default.tsv").read_text().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(
    mitoscale: Call, layered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    inner = Level.read

    def read(level: Level, region: Region) -> np.ndarray:
        names = sorted(path.name for path in tmp_path.iterdir())  # it is being written
        assert len(names) == 2 and all(name.startswith(".x.n5.") for name in names)
        os.kill(os.getpid(), number)
        return inner(level, region)

    monkeypatch.setattr(Level, "read", read)
    ended = mitoscale("export", layered, "--to", f"{tmp_path}/x.n5")
    assert ended.code == 4 and ended.err == "mitoscale: stopped; nothing was kept\n"
    assert not list(tmp_path.iterdir())


def test_what_a_kill_left_goes_at_the_next_export(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    left, other = tmp_path / ".x.n5.0123abcd.tmp", tmp_path / ".y.n5.0123abcd.tmp"
    for folder in (left, other):
        (folder / "s0").mkdir(parents=True)
        (folder / "s0" / "attributes.json").write_text("{}")
    assert mitoscale("export", layered, "--to", f"{tmp_path}/x.n5", "--level", "1").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"x.n5", other.name}


def test_two_do_not_export_the_same(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    with exclusively(tmp_path / ".x.n5.mitoscale-export", "busy"):
        check_refused(mitoscale, tmp_path, ["export", layered, "--to", f"{tmp_path}/x.n5"], "another mitoscale export is writing")


@pytest.mark.parametrize("name", ["x.mrc", "x.tif", "x.ome.tif", "x.csv"])
def test_no_slash_behind_a_file(mitoscale: Call, layered: str, tmp_path: Path, name: str) -> None:
    check_refused(mitoscale, tmp_path, ["export", layered, "--to", f"{tmp_path}/{name}/"], "is a file; leave out the slash")
    check_refused(mitoscale, tmp_path, ["export", layered, "--to", f"{tmp_path}/x/", "--kind", "tiff"], "tiff is a file")
    arguments = ["--to", f"{tmp_path}/{name}/", "--kind", "slices", "--region", "0:2,:,:"]
    assert mitoscale("export", layered, *arguments).code == 0
    assert len(list((tmp_path / name).iterdir())) == 2


def test_no_target(mitoscale: Call, layered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_refused(mitoscale, tmp_path, ["export", layered, "--to", ""], "--to is empty")


@pytest.mark.parametrize("name", ["x.tif", "tables/new/x.n5"])
def test_nothing_goes_into_another_run(mitoscale: Call, layered: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(RunFolder(layered).run_json, tmp_path / "other")
    arguments = ["export", layered, "--to", f"{tmp_path}/other/{name}"]
    check_refused(mitoscale, tmp_path, arguments, f"lies in the run folder {tmp_path}/other")


@pytest.mark.parametrize("kind", sorted(kind.name for kind in KINDS if kind.objects))
def test_objects_that_are_not_measured(
    mitoscale: Call, layered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """After relabel was done again, the table is of other labels until measure is done again, too."""
    monkeypatch.setattr("mitoscale.pipeline.finished", lambda run, stage: stage != "measure")
    check_refused(mitoscale, tmp_path, ["export", layered, "--to", f"{tmp_path}/x", "--kind", kind], "not measured its objects yet")


def test_an_address_is_no_target(mitoscale: Call, layered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for target in ("s3://bucket/x.n5", "precomputed://x"):
        check_refused(mitoscale, tmp_path, ["export", layered, "--to", target], "is an address; export to a local path")


def test_a_table_of_an_older_stage_is_none(mitoscale: Call, layered: str, tmp_path: Path) -> None:
    """Labels were made anew, and their objects not measured yet: detections are as they were."""
    run = str(tmp_path / "run")
    shutil.copytree(layered, run)
    assert mitoscale("relabel", run, "--redo", "relabel").code == 0
    check_refused(mitoscale, tmp_path, ["export", run, "--to", f"{tmp_path}/x.csv"], "no finished table of objects yet")
    assert mitoscale("export", run, "--to", f"{tmp_path}/y.csv", "--table", "detections").code == 0
