"""Every command that takes a volume takes every kind, and the same volume gives the same results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import BLOCK, SHAPE, Call, Finished, Stack, check_refused, labels_of

from mitoscale.core.geometry import Region
from mitoscale.evaluation.evaluate import evaluate
from mitoscale.evaluation.grey_volume import open_grey
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.training.annotated import read_annotated

sys.path.insert(0, str(Path(__file__).parents[1] / "storage" / "sources"))

from written import TELL, WRITERS, arguments

NM = (10.0, 10.0, 10.0)
SIZE = ["--voxel-size", "10,10,10"]


@pytest.mark.parametrize("kind", sorted(set(WRITERS) - {"ome_zarr"}))
def test_converted(kind: str, mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    path, reading = WRITERS[kind](tmp_path, stack.phantom.image, (8, 32, 64), NM)
    given = [] if kind in TELL else SIZE
    ended = mitoscale("convert", path, str(tmp_path / "run"), "--block", ",".join(map(str, BLOCK)), *given, *arguments(reading))
    assert ended.code == 0, ended.err
    np.testing.assert_array_equal(open_array(f"{RunFolder(str(tmp_path / 'run')).volume}/0").read_all(), stack.phantom.image)


@pytest.mark.parametrize("kind", ["ilastik", "mrc", "ome_zarr"])
def test_run(kind: str, mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path) -> None:
    """The OME-Zarr has two channels and five axes, and is read where it lies."""
    path, reading = WRITERS[kind](tmp_path, stack.phantom.image, (8, 32, 64), NM)
    run = str(tmp_path / "run")
    ended = mitoscale("run", path, run, *stack.exact(), *arguments(reading))
    assert ended.code == 0, ended.err
    np.testing.assert_array_equal(labels_of(run), labels_of(finished.run))
    assert Path(RunFolder(run).volume, "0").exists() == (kind != "ome_zarr")


@pytest.mark.parametrize("kind", WRITERS)
def test_looked_into_learnt_and_scored(kind: str, stack: Stack, tmp_path: Path) -> None:
    image, truth = (tmp_path / name for name in ("image", "truth"))
    part = Region.of_shape((6, 40, 50))
    grey, labels = stack.phantom.image[part.slices], stack.phantom.labels[part.slices].astype(np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", grey, photometric="minisblack")
    tifffile.imwrite(tmp_path / "truth.tif", labels, photometric="minisblack")
    image.mkdir(), truth.mkdir()
    path, reading = WRITERS[kind](image, grey, (2, 16, 16), NM)
    true, of_truth = WRITERS[kind](truth, labels, (2, 16, 16), NM)
    if kind == "ome_zarr":  # the labels have one channel alone
        true, of_truth = WRITERS["zarr3"](truth, labels, (2, 16, 16), NM)
    expected = open_grey(str(tmp_path / "image.tif"), NM).read(part)
    np.testing.assert_array_equal(open_grey(path, NM, reading=reading).read(part), expected)
    pair = read_annotated(path, true, NM, reading=reading, truth_dtype=of_truth.dtype)
    assert pair.digest == read_annotated(str(tmp_path / "image.tif"), str(tmp_path / "truth.tif"), NM).digest
    scores = evaluate(str(tmp_path / "truth.tif"), true, reading=of_truth, truth_dtype=of_truth.dtype)
    assert scores["foreground"]["iou"] == 1.0


def test_the_commands_pass_the_choice_on(mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel, and raw bytes with a truth of other ones, as the command line says them."""
    path, reading = WRITERS["ome_zarr"](tmp_path, stack.phantom.image, (8, 32, 64), NM)
    stack.phantom.labels.astype("<u4").tofile(tmp_path / "truth.raw")
    stack.phantom.image.tofile(tmp_path / "image.raw")
    shape = ["--shape", ",".join(map(str, SHAPE)), "--dtype", "uint8"]
    monkeypatch.chdir(tmp_path)
    asked = mitoscale("prompt", path, "--slice", "9", "--point", "60,60", *arguments(reading))
    assert asked.code == 0, asked.err
    again = mitoscale("prompt", "image.raw", "--slice", "9", "--point", "60,60", *shape, *SIZE)
    assert again.out.splitlines()[:-1] == asked.out.splitlines()[:-1]
    raw = ["image.raw", "truth.raw", *shape, "--truth-dtype", "uint32"]
    compared = mitoscale("compare", *raw, *SIZE, "--slices", "8:10", "--no-automatic")
    assert compared.code == 0 and "U-Net" in compared.out, compared.err
    scored = mitoscale("evaluate", "truth.raw", "truth.raw", "--shape", shape[1], "--dtype", "uint32", "--json")
    assert json.loads(scored.out)["foreground"]["iou"] == 1.0


def test_what_is_not_clear_leaves_nothing_behind(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    path, _ = WRITERS["ome_zarr"](tmp_path, stack.phantom.image, (8, 32, 64), NM)
    run = str(tmp_path / "run")
    for command in ("run", "convert", "plan"):
        where = [run] if command != "plan" else []
        check_refused(mitoscale, tmp_path, [command, path, *where], "has 2 channels; choose one with --channel 0 .. 1")
    h5, _ = WRITERS["hdf5"](tmp_path, stack.phantom.image, (8, 32, 64), NM)
    check_refused(mitoscale, tmp_path, ["run", h5 + "x", run], "/volumes/raw (32, 128, 128) uint8")


def test_another_voxel_size_than_the_source_tells_is_told(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    path, _ = WRITERS["hdf5"](tmp_path, stack.phantom.image[:8, :32, :32], (8, 32, 32), NM)
    for size, told in (("12,10,10", True), ("10,10,10", False)):
        ended = mitoscale("convert", path, str(tmp_path / size), "--voxel-size", size)
        assert ended.code == 0
        assert ("tells a voxel of 10 x 10 x 10 nm (z,y,x); the given one, 12 x 10 x 10 nm, counts" in ended.err) == told
