"""Runs in an object store: the same labels and tables as on a disk, gone on with and done again, and told of in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Call, Stack, labels_of

from mitoscale.core.errors import InputError
from mitoscale.core.settings import STAGES
from mitoscale.ops.phantom import make_phantom
from mitoscale.pipeline import load
from mitoscale.storage import arrays, object_store
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.object_store import look, names_below, put, remove
from mitoscale.storage.owner_file import this_process
from mitoscale.storage.places import kvstore
from mitoscale.storage.tables import read_table
from mitoscale.storage.tiff_writing import write_tiff
from s3_server import ENVIRONMENT, S3Server

RUN = "s3://em-data/lab/run"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Two blocks: requests to a server in Python take long."""
    folder = tmp_path_factory.mktemp("small")
    phantom = make_phantom((16, 64, 128), objects=5, seed=3, touching=0.0)
    write_tiff(str(folder / "phantom.tif"), phantom.image, phantom.spacing)
    np.save(folder / "truth.npy", phantom.labels)
    return Stack(phantom=phantom, image=str(folder / "phantom.tif"), truth=str(folder / "truth.npy"))


@pytest.fixture(scope="module")
def on_disk(mitoscale: Call, small: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished run in a folder; tests only read it."""
    run = str(tmp_path_factory.mktemp("on_disk") / "run")
    ended = mitoscale("run", small.image, run, *small.exact())
    assert ended.code == 0, ended.err
    return run


@pytest.fixture(scope="module")
def in_store(mitoscale: Call, small: Stack, s3_server: S3Server) -> str:
    """The same in the store; tests only read it."""
    ended = mitoscale("run", small.image, RUN, *small.exact())
    assert ended.code == 0, ended.err
    assert f"labels     {RUN}/volume.zarr/labels/mitochondria" in ended.out
    return RUN


@pytest.fixture
def copy(in_store: str, request: pytest.FixtureRequest) -> str:
    """A finished run in the store that a test may change."""
    run = f"s3://em-data/{request.node.name}"
    for name in names_below(in_store):
        put(f"{run}/{name}", look(f"{in_store}/{name}").data or b"")
    return run


def check_same(here: str, there: str) -> None:
    """Labels of all levels and tables are equal bit for bit."""
    plan = load(there).plan
    for level in range(len(plan.spec.factors)):
        np.testing.assert_array_equal(labels_of(here, level), labels_of(there, level))
    for name in ("objects", "contacts", "detections", "edges_table", "slices"):
        one, other = (read_table(getattr(RunFolder(run), name)) for run in (here, there))
        assert one.keys() == other.keys()
        for column in one:
            np.testing.assert_array_equal(one[column], other[column])
    for stage in STAGES[:-1]:
        assert sums(here, stage) == sums(there, stage), stage


def sums(run: str, stage: str) -> dict[str, str]:
    """Checksum of each task's result."""
    plan = load(run).plan
    return {e.name: e.checksum for e in Ledger(RunFolder(plan.run).ledger(stage)).latest(plan.settings.token(stage))}


def test_a_run_is_that_of_a_disk_bit_for_bit(in_store: str, on_disk: str) -> None:
    check_same(in_store, on_disk)
    names = names_below(in_store)
    assert {"run.json", "report.html", "tables/objects.csv", "ledger/segment/000000.jsonl"} <= set(names)
    assert not [name for name in names if name.startswith((".", "work/coarse")) or name.endswith((".tmp", ".owner"))]
    assert not [name for name in names if ENVIRONMENT["AWS_SECRET_ACCESS_KEY"].encode() in (look(f"{in_store}/{name}").data or b"")]


def test_a_finished_run_is_not_done_again(in_store: str, mitoscale: Call, small: Stack, s3_server: S3Server) -> None:
    before = s3_server.counts.copy()
    ended = mitoscale("run", small.image, in_store, *small.exact())
    assert ended.code == 0 and "Mvoxel/s" not in ended.out, ended.err
    written = s3_server.counts["PUT"] - before["PUT"]
    assert written < 8, "its settings, the lock and a probe alone"


def test_from_store_to_store(in_store: str, mitoscale: Call, on_disk: str) -> None:
    ended = mitoscale("convert", f"{in_store}/volume.zarr", "s3://em-data/again", "--block", "16,64,64", "--workers", "1")
    assert ended.code == 0, ended.err
    assert sums("s3://em-data/again", "convert").keys() == sums(on_disk, "convert").keys()
    levels = [open_array(f"{run}/volume.zarr/0").read_all() for run in ("s3://em-data/again", on_disk)]
    np.testing.assert_array_equal(*levels)


def test_what_is_told_of_a_run(in_store: str, mitoscale: Call, tmp_path: Path) -> None:
    told = json.loads(mitoscale("status", in_store, "--json").out)
    assert told["finished"] and not told["working"] and not told["missing"]
    planned = mitoscale("plan", in_store)
    assert planned.code == 0 and "calibrated on 2 blocks" in planned.out, planned.err
    assert mitoscale("export", in_store, "--to", str(tmp_path / "labels.tif")).code == 0
    assert mitoscale("export", in_store, "--to", str(tmp_path / "objects.csv")).code == 0
    refused(mitoscale("export", in_store, "--to", str(tmp_path / "c.tif"), "--edits"), "corrections are kept with runs on a disk")
    evaluated = mitoscale("evaluate", in_store, in_store)
    assert evaluated.code == 0, evaluated.err


def test_opened_from_python(in_store: str, on_disk: str) -> None:
    import mitoscale

    there, here = mitoscale.open_run(in_store), mitoscale.open_run(on_disk)
    assert there.objects.equals(here.objects)
    with pytest.raises(InputError, match="corrections are kept with runs on a disk; copy s3://em-data"):
        there.objects_corrected  # noqa: B018 - a property
    for name in ("labels", "image", "foreground"):
        np.testing.assert_array_equal(getattr(there, name)[0].compute(), getattr(here, name)[0].compute())


@pytest.mark.parametrize("command", [("view",), ("apply",), ("edit", "list"), ("suggest",), ("report", "--against")])
def test_what_needs_a_disk_says_so(command: tuple[str, ...], in_store: str, mitoscale: Call, tmp_path: Path) -> None:
    arguments = {
        "edit": ["edit", in_store, "list"],
        "suggest": ["suggest", in_store, "--out", str(tmp_path / "windows")],
        "report": ["report", in_store, "--against", in_store],
    }.get(command[0], [command[0], in_store])
    ended = mitoscale(*arguments)
    assert ended.code == 1 and len(ended.err.splitlines()) == 1, ended.err
    assert f"needs a run on a disk; copy {in_store} to a folder first" in ended.err


def test_the_rest_is_done_after_a_kill_and_lost_objects_again(mitoscale: Call, copy: str, on_disk: str) -> None:
    folder, token = RunFolder(copy), load(copy).plan.settings.token("segment")
    put(f"{copy}/.lock.owner", json.dumps({**this_process(), "pid": 2**22 + 1, "renewed": 9e9}).encode())
    segments = folder.ledger("segment")
    first = (look(f"{segments}/000000.jsonl").data or b"").splitlines(keepends=True)[0]
    put(f"{segments}/000000.jsonl", first)
    remove(f"{folder.fragments}/c/0/0/0")
    Ledger(folder.ledger("stitch")).invalidate()  # whose tasks find that it is gone
    for stage in ("segment", "stitch"):
        ended = mitoscale(stage, copy, "--workers", "1")
        assert ended.code == 0, ended.err
    names = [entry.name for entry in Ledger(segments).lines(token)]
    assert names[0] == json.loads(first)["name"] and len(set(names)) == 3 and names.count(names[0]) > 1, "its shard was gone"
    check_same(copy, on_disk)


@pytest.mark.slow
def test_other_settings_are_refused_and_done_with_redo(mitoscale: Call, copy: str, on_disk: str) -> None:
    refused(mitoscale("relabel", copy, "--min-volume", "5e99"), "--redo relabel")
    for least, objects in (("5e99", 0), ("1e6", len(read_table(RunFolder(on_disk).objects)["label"]))):
        for stage in ("relabel", "measure"):
            redo = ("--redo", "relabel") if stage == "relabel" else ()
            ended = mitoscale(stage, copy, "--min-volume", least, "--workers", "1", *redo)
            assert ended.code == 0, ended.err
        assert len(read_table(RunFolder(copy).objects)["label"]) == objects
    check_same(copy, on_disk)


@pytest.mark.slow
def test_a_cleaned_run_keeps_its_results(mitoscale: Call, copy: str, small: Stack) -> None:
    freed = mitoscale("clean", copy)
    assert freed.code == 0 and "MB" in freed.out, freed.err
    assert not [name for name in names_below(copy) if name.startswith("work/")]
    assert json.loads(mitoscale("status", copy, "--json").out)["finished"]
    ended = mitoscale("run", small.image, copy, *small.exact())
    assert ended.code == 0 and "Mvoxel/s" not in ended.out, ended.err


def test_a_store_that_stumbles_changes_nothing(
    mitoscale: Call, small: Stack, on_disk: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, before = "s3://em-data/stumbling", s3_server.counts.copy()
    with monkeypatch.context() as patch:
        patch.setattr(s3_server, "next", [*[""] * 9, "slow down", *[""] * 9, "broken", *[""] * 9, "answer lost"] * 4)
        ended = mitoscale("convert", small.image, run, "--block", "16,64,64", "--workers", "1")
        assert ended.code == 0, ended.err
    assert sums(run, "convert") == sums(on_disk, "convert")
    assert all(s3_server.counts[name] > before[name] for name in ("slow down", "broken", "answer lost"))


def refused(ended: Any, *words: str) -> None:
    assert ended.code == 1, ended.err
    assert ended.err.startswith("mitoscale: ") and len(ended.err.splitlines()) == 1, ended.err
    for word in words:
        assert word in ended.err, ended.err


def test_a_store_that_goes_away_stops_the_run_and_it_goes_on_later(
    mitoscale: Call, small: Stack, on_disk: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = "s3://em-data/away"
    arguments = ("convert", small.image, run, "--block", "16,64,64", "--workers", "1")
    with monkeypatch.context() as patch:  # else it is asked for 20 seconds again
        once = {"s3_request_retries": {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"}}
        for module in (object_store, arrays):
            patch.setattr(module, "kvstore", lambda path: kvstore(path) | once)
        patch.setattr(s3_server, "next", [""] * 50 + ["broken"] * 10_000)
        ended = mitoscale(*arguments)
        s3_server.next.clear()
    assert ended.code == 4, ended.err
    assert "cannot be reached" in ended.err.splitlines()[-1] and ended.err.endswith("then repeat the command\n")
    assert mitoscale(*arguments).code == 0
    assert sums(run, "convert") == sums(on_disk, "convert")


def test_wrong_places(mitoscale: Call, small: Stack, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (("run", small.image), ("status",), ("export", "--to", "x.tif")):
        refused(mitoscale(*command, "s3://nobodys/run"), "there is no bucket nobodys")
        refused(mitoscale(*command, "https://host/run"), "no run can lie there; give a folder, or an s3:// address")
        refused(mitoscale(*command, "s3://em-data"), "names a whole bucket; give a name in it")
    refused(mitoscale("status", "s3://em-data/nothing"), "is no run folder: it has no run.json")
    put("s3://em-data/other/file", b"-")
    refused(mitoscale("run", small.image, "s3://em-data/other", *small.exact()), "holds other files and no run.json")
    assert names_below("s3://em-data/other") == ["file"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    refused(mitoscale("run", small.image, "s3://em-data/new"), "there are no credentials; give AWS_ACCESS_KEY_ID")
    assert not os.listdir(tmp_path)


def test_a_wrong_source_leaves_nothing(mitoscale: Call, s3_server: S3Server, tmp_path: Path) -> None:
    write_tiff(str(tmp_path / "flat.tif"), np.full((4, 64, 64), 7, np.uint8), (5.0, 5.0, 5.0))
    ended = mitoscale("run", str(tmp_path / "flat.tif"), "s3://em-data/flat", "--segmenter", "unet", "--workers", "1")
    assert ended.code == 1 and "no contrast" in ended.err, ended.err
    assert not names_below("s3://em-data/flat")
