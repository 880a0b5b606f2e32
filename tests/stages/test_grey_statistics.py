"""What convert finds out about grey values and padding does not depend on blocks, order or where the volume lies, and is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Call, labels_of

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.pipeline import load
from mitoscale.stages.bad_slices import gather_slices
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.stages.network_view import network_view
from mitoscale.stages.padding import read_padding
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table
from mitoscale.storage.tiff_writing import write_tiff

SHAPE = (10, 150, 170)


def padded(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise with black corners and borders that change from slice to slice, and where they are."""
    rng = np.random.default_rng(5)
    image = rng.normal(120, 20, SHAPE).clip(1, 254).astype(dtype)
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    nothing = np.stack([(y + x < 60 + 3 * z) | (x >= 140 - 2 * z) for z in range(SHAPE[0])])
    return np.where(nothing, 0, image).astype(dtype), nothing


@pytest.fixture
def convert(mitoscale: Call, tmp_path: Path) -> Callable[..., str]:
    """Write a volume, convert it, and give the run."""

    def made(name: str, image: np.ndarray, *options: str) -> str:
        write_tiff(str(tmp_path / "volume.tif"), image, (10.0, 10.0, 10.0))
        np.save(tmp_path / "truth.npy", np.ones(image.shape, np.uint8))
        oracle = ["--detector", "known_truth:detector", "--detector-option", f"truth={tmp_path / 'truth.npy'}"]
        run = str(tmp_path / name)
        ended = mitoscale("convert", str(tmp_path / "volume.tif"), run, "--segmenter", "unet", *oracle, *options)
        assert ended.code == 0, ended.err
        (Path(run) / "said.txt").write_text(ended.out)
        return run

    return made


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_neither_blocks_nor_the_source_change_what_is_found(
    dtype: str, convert: Callable[..., str], mitoscale: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, nothing = padded(dtype)
    runs = [
        convert("whole", image, "--block", "16,256,256"),
        convert("small", image, "--block", "8,16,16"),
        convert("odd", image, "--block", "5,21,37"),
    ]
    monkeypatch.setattr("mitoscale.stages.padding._HELD", 1)  # as of very large slices, few of which lie in one file
    runs.append(convert("few", image, "--block", "16,256,256"))
    if dtype != "float32":  # an OME-Zarr of floats is not read in place
        shutil.copytree(RunFolder(runs[0]).volume, tmp_path / "volume.zarr")
        runs.append(str(tmp_path / "in-place"))
        oracle = ["--detector", "known_truth:detector", "--detector-option", f"truth={tmp_path / 'truth.npy'}"]
        ended = mitoscale("convert", str(tmp_path / "volume.zarr"), runs[-1], "--block", "8,32,64", "--segmenter", "unet", *oracle)
        assert ended.code == 0, ended.err
    found = [read_grey(load(run).plan) for run in runs]
    assert all(other == found[0] for other in found[1:])
    cells = [read_padding(load(run).plan, Region.of_shape(SHAPE)) for run in runs]
    assert all(np.array_equal(other, cells[0]) for other in cells[1:])
    assert not (cells[0] & ~nothing).any()
    assert found[0].padding_share == pytest.approx(cells[0].mean())
    assert found[0].padding_share > 0.7 * nothing.mean()
    low, high = np.percentile(image[~nothing], (0.2, 99.8))
    assert (found[0].normalisation.low, found[0].normalisation.high) == pytest.approx((low, high), abs=0.02)


def test_the_order_in_which_tasks_end_changes_no_bit(convert: Callable[..., str]) -> None:
    run = convert("run", padded("float32")[0], "--block", "5,21,37")
    plan, found = load(run).plan, []
    names = [block.name for block in plan.convert_grid.blocks()]
    for order in (names, names[::-1], names[1::2] + names[::2]):
        gather_slices(plan, order, np.zeros(SHAPE[0]))
        found.append(read_table(RunFolder(run).slices))
    assert found[0]["mean"].dtype == np.float64
    for other in found[1:]:
        for name, column in found[0].items():
            np.testing.assert_array_equal(other[name], column, err_msg=name)


def test_part_of_a_cell_at_the_far_border_of_a_region(convert: Callable[..., str]) -> None:
    """A region that begins and ends anywhere: cells count from its corner, and padding is read back to the voxel."""
    image, nothing = padded("uint8")
    part = Region(start=(1, 3, 5), stop=(9, 142, 163))
    run = convert("part", image, "--region", "1:9,3:142,5:163", "--block", "4,24,24")
    plan = load(run).plan
    cells = read_padding(plan, part)
    assert cells.shape == part.shape and not (cells & ~nothing[part.slices]).any()
    assert read_grey(plan).padding_share == pytest.approx(cells.mean())
    inner = Region(start=(2, 50, 60), stop=(4, 99, 155))
    assert np.array_equal(read_padding(plan, inner), cells[inner.within(part)])


def test_nothing_is_found_in_padding(convert: Callable[..., str], mitoscale: Call) -> None:
    """The detector calls everything foreground; what the labels leave out is the padding, to the pixel."""
    image, nothing = padded("uint8")
    run = convert("run", image, "--block", "8,64,64")
    for stage in ("detect", "segment", "stitch", "relabel"):
        ended = mitoscale(stage, run)
        assert ended.code == 0, ended.err
    labels = labels_of(run)
    assert (labels[nothing] > 0).mean() < 0.001  # the last pixels of a pointed corner
    assert (labels[~nothing] > 0).mean() > 0.995  # beside a slanting edge a corner of tissue may be hidden


def test_padding_and_extremes_are_told_in_a_line_each(convert: Callable[..., str]) -> None:
    image, _ = padded("uint16")
    image[:, 100:105, 80:84] = 65535
    run = convert("run", image)
    said = [line for line in (Path(run) / "said.txt").read_text().splitlines() if line.startswith("grey")]
    share = read_grey(load(run).plan).padding_share
    assert len(said) == 2
    assert f"{100 * share:.2g} % of the voxels are padding" in said[0]
    assert "65535" in said[1] and "far from all others" in said[1]


def test_a_clean_volume_is_told_nothing(convert: Callable[..., str]) -> None:
    run = convert("run", np.random.default_rng(0).normal(120, 20, (4, 64, 64)).astype(np.uint8))
    grey = read_grey(load(run).plan)
    assert grey.told() == [] and grey.padding_digest == "" and not Path(RunFolder(run).padding).exists()


def test_padding_that_is_gone_is_found_again(convert: Callable[..., str], mitoscale: Call) -> None:
    run = convert("run", padded("uint8")[0])
    kept = read_padding(load(run).plan, Region.of_shape(SHAPE))
    shutil.rmtree(RunFolder(run).padding)
    ended = mitoscale("detect", run)
    assert ended.code == 0, ended.err
    assert np.array_equal(read_padding(load(run).plan, Region.of_shape(SHAPE)), kept)


def test_the_record_is_read_back(convert: Callable[..., str]) -> None:
    run = convert("run", padded("uint8")[0])
    content = json.loads(Path(RunFolder(run).grey).read_text())
    assert VolumeGrey.model_validate(content) == read_grey(load(run).plan)


def textured() -> np.ndarray:
    """(Z, Y, X) uint8 that goes on from slice to slice."""
    rng = np.random.default_rng(3)
    coarse = rng.normal(128, 30, (SHAPE[0] + 2, 22, 24))
    smooth = np.kron(coarse[:-2] + coarse[1:-1] + coarse[2:], np.ones((1, 8, 8)))[:, : SHAPE[1], : SHAPE[2]] / 3
    return (smooth + rng.normal(0, 8, smooth.shape)).clip(1, 254).astype(np.uint8)


def test_a_lost_slice_is_listed_and_its_labels_are_those_between_its_neighbours(
    convert: Callable[..., str], mitoscale: Call, tmp_path: Path
) -> None:
    """Black slices at the end of a block, in the middle of one, and one of which half is lost: the network finds nothing there."""
    image, depth = textured(), SHAPE[0]
    image[4], image[7, 75:], image[2] = 0, 0, np.clip(image[2] * 0.4 + 130, 0, 255)
    truth = np.zeros(SHAPE, np.uint8)
    truth[:, 20:60, 30:90] = 1
    truth[:, 90:140, 20:120] = 1
    found = []
    for name, block in (("one", "16,256,256"), ("two", "5,64,64"), ("three", "4,21,37")):
        run = convert(name, image, "--block", block, "--min-volume", "1")
        np.save(tmp_path / "truth.npy", np.where(np.isin(np.arange(depth), (4, 7))[:, None, None], 0, truth))
        for stage in ("detect", "segment", "stitch", "relabel"):
            ended = mitoscale(stage, run)
            assert ended.code == 0, ended.err
        table = read_table(RunFolder(run).slices)
        assert {int(z): state for z, state in zip(table["z"], table["state"], strict=True) if state != "good"} == {
            2: "brightness",
            4: "lost",
            7: "partly lost",
        }
        assert table["from_before"][[4, 7]].tolist() == [3, 6] and table["from_after"][[4, 7]].tolist() == [5, 8]
        foreground = open_array(RunFolder(run).foreground).read(Region.of_shape(SHAPE))
        assert np.array_equal(foreground[4] > 127, truth[4] > 0)
        assert np.array_equal(foreground[7, 75:] > 127, truth[7, 75:] > 0) and not foreground[7, :75].any()
        found.append((foreground, labels_of(run) > 0, read_grey(load(run).plan), table))
    for other in found[1:]:
        assert np.array_equal(other[0], found[0][0]) and np.array_equal(other[1], found[0][1])
        assert other[2] == found[0][2]
        for name, column in found[0][3].items():
            np.testing.assert_array_equal(other[3][name], column, err_msg=name)
    grey = found[0][2]
    assert grey.slice_states == {"brightness": 1, "lost": 1, "partly lost": 1} and len(grey.told()) == 2
    assert "tables/slices.parquet" in grey.told()[1]


def test_slices_that_a_folder_lacks_are_filled_where_that_is_allowed(mitoscale: Call, tmp_path: Path) -> None:
    """Files of three slices are gone: refused, then filled, listed and told; a gap that is too long makes nothing."""
    image, folder = textured(), tmp_path / "slices"
    folder.mkdir()
    for z in range(SHAPE[0]):
        write_tiff(str(folder / f"s{z + 1:02d}.tif"), image[z : z + 1], (20.0, 10.0, 10.0))
    truth = np.zeros(SHAPE, np.uint8)
    truth[:, 20:60, 30:90] = 1
    absent = np.isin(np.arange(SHAPE[0]), (2, 6, 7))
    np.save(tmp_path / "truth.npy", np.where(absent[:, None, None], 0, truth))
    for z in np.flatnonzero(absent):
        (folder / f"s{z + 1:02d}.tif").unlink()
    run, size = str(tmp_path / "run"), ("--voxel-size", "20,10,10")
    ended = mitoscale("convert", str(folder), run, *size)
    assert ended.code == 1 and "number 3, 7, 8; restore it" in ended.err and "--fill-gaps" in ended.err
    oracle = ("--detector", "known_truth:detector", "--detector-option", f"truth={tmp_path / 'truth.npy'}")
    options = ("--segmenter", "unet", "--min-volume", "1", "--block", "5,64,64", "--fill-gaps", *size, *oracle)
    ended = mitoscale("run", str(folder), run, *options)
    assert ended.code == 0, ended.err
    assert "3 slices are missing" in ended.err and "number 2, 6, 7, counted from 0" in ended.err
    assert "3 missing; for 3 their neighbours stand" in ended.out and "3 missing" in Path(run, "report.html").read_text()
    table = read_table(RunFolder(run).slices)
    assert np.array_equal(table["state"] == "missing", absent) and np.array_equal(table["replaced"], absent)
    assert table["from_before"][absent].tolist() == [1, 5, 5] and table["from_after"][absent].tolist() == [3, 8, 8]
    labels = labels_of(run)
    assert np.array_equal(labels > 0, truth > 0) and len(np.unique(labels)) == 2
    (folder / "s06.tif").unlink()
    ended = mitoscale("convert", str(folder), str(tmp_path / "other"), *size, "--fill-gaps")
    assert ended.code == 1 and "slices 5 to 7 (counted from 0)" in ended.err and "fills at most 2" in ended.err
    assert not (tmp_path / "other").exists()


def test_what_the_network_sees_of_a_bad_slice(convert: Callable[..., str]) -> None:
    """A black slice looks as the mean of its neighbours, one of other brightness as it would have been."""
    image = textured()
    bad = image.copy()
    bad[4], bad[7] = 0, (image[7] * 0.4 + 100).astype(np.uint8)
    plan = load(convert("run", bad)).plan
    grey = read_grey(plan)
    view = network_view(plan, grey, bad, plan.detect_grid.block((0, 0, 0)))
    clean = grey.normalisation.apply(image).astype(float)
    assert np.array_equal(view.image[4], np.rint((view.image[3].astype(np.float32) + view.image[5]) / 2))
    assert np.abs(view.image[7] - clean[7]).mean() < 8
    assert not view.hidden.any()
    others = [0, 1, 2, 3, 5, 6, 8, 9]
    assert np.array_equal(view.image[others], clean[others])
