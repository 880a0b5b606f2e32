"""A source that is an OME-Zarr is read where it lies; a region restricts a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from commands import BLOCK, SHAPE, Call, Finished, Stack, contents, labels_of, renamed
from kills import Killed, killing

from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import STAGES
from mitoscale.core.volume import VolumeSpec
from mitoscale.pipeline import Observer, execute, load, make_plan, start
from mitoscale.stages.source import open_source
from mitoscale.storage import ome
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder, read_json
from mitoscale.storage.ome import create_image, create_labels
from mitoscale.storage.tables import read_table


@pytest.fixture
def source(stack: Stack, tmp_path: Path) -> str:
    """The phantom as an OME-Zarr with two levels and chunks of its own."""
    path = str(tmp_path / "source.zarr")
    spec = VolumeSpec(
        shape=SHAPE,
        dtype="uint8",
        spacing=(10.0, 10.0, 10.0),
        chunks=(8, 32, 32),
        shards=(16, 64, 64),
        factors=((1, 1, 1), (2, 2, 2)),
    )
    create_image(path, spec, name="theirs")
    open_array(f"{path}/0").write(Region.of_shape(SHAPE), stack.phantom.image)
    open_array(f"{path}/1").write(Region.of_shape((16, 64, 64)), stack.phantom.image[::2, ::2, ::2].copy())
    return path


def test_read_in_place_not_copied(mitoscale: Call, stack: Stack, finished: Finished, source: str, tmp_path: Path) -> None:
    run, before = str(tmp_path / "run"), contents(source)
    ended = mitoscale("run", source, run, *stack.exact())
    assert ended.code == 0, ended.err
    assert contents(source) == before
    assert sorted(p.name for p in Path(RunFolder(run).volume).iterdir()) == ["labels", "zarr.json"]
    assert read_json(RunFolder(run).run_json)["plan"]["image"] == f"{source}/0"
    assert np.array_equal(labels_of(run), labels_of(finished.run))
    intensity = read_table(RunFolder(run).objects)["mean_intensity"]
    assert np.allclose(intensity, read_table(RunFolder(finished.run).objects)["mean_intensity"])


def test_labels_into_source(mitoscale: Call, stack: Stack, finished: Finished, source: str, tmp_path: Path) -> None:
    run, before = str(tmp_path / "run"), contents(source)
    ended = mitoscale("run", source, run, *stack.exact(), "--labels-into-source")
    assert ended.code == 0, ended.err
    after = contents(source)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("labels") for name in after.keys() - before.keys())
    assert not Path(RunFolder(run).volume).exists()
    labels = f"{source}/labels/mitochondria"
    assert labels in ended.out
    assert np.array_equal(open_array(f"{labels}/0").read_all(), labels_of(finished.run))
    assert list(zarr.open_group(f"{source}/labels", mode="r").attrs["ome"]["labels"]) == ["mitochondria"]
    scores = mitoscale("evaluate", run, f"{finished.run}/volume.zarr/labels/mitochondria", "--json")
    assert scores.code == 0 and '"f1_50": 1.0' in scores.out


def test_labels_that_others_made_in_the_source_stay(mitoscale: Call, stack: Stack, source: str, tmp_path: Path) -> None:
    one_level = ((1, 1, 1),)
    theirs = VolumeSpec(shape=SHAPE, dtype="uint32", spacing=(10.0,) * 3, chunks=BLOCK, shards=BLOCK, factors=one_level)
    create_labels(source, "mitochondria", theirs)
    open_array(f"{source}/labels/mitochondria/0").write(Region.of_shape(SHAPE), stack.phantom.labels)
    before = contents(source)
    ended = mitoscale("run", source, str(tmp_path / "run"), *stack.exact(), "--labels-into-source")
    assert contents(source) == before, "annotations made by hand were overwritten"
    assert ended.code == 1 and len(ended.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_run_never_touches_the_labels_of_another_run_on_the_same_source(
    mitoscale: Call, stack: Stack, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both begin while there are no labels; the one that comes second to write them is refused, and so is its next try.

    The first knows its own, be it killed while it makes them anew.
    """
    first, second, labels = str(tmp_path / "first"), str(tmp_path / "second"), Path(source, "labels")
    options = [*stack.exact(), "--labels-into-source"]
    assert mitoscale("run", source, first, *options).code == 0
    labels.rename(tmp_path / "aside")
    begun = start(make_plan(open_source(source, None), second, load(first).plan.settings), None)
    (tmp_path / "aside").rename(labels)
    before = contents(labels)
    with pytest.raises(InputError, match=r"holds the labels of another run than .*second: rename or remove them"):
        execute(begun, STAGES, SerialExecutor(), Observer())
    assert contents(labels) == before
    ended = mitoscale("run", source, second, *options)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1) and "labels of another run" in ended.err
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ome, "_set", killing(ome._set))
        execute(load(first), STAGES, SerialExecutor(), Observer(), redo="relabel")
    execute(load(first), STAGES, SerialExecutor(), Observer())
    assert contents(labels) == before, "a run may do its own labels again"


def test_readers_of_consolidated_metadata_see_the_labels(mitoscale: Call, stack: Stack, source: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="not part in the Zarr format 3"):
        zarr.consolidate_metadata(source)
    assert "labels" not in zarr.open_consolidated(source)
    ended = mitoscale("run", source, str(tmp_path / "run"), *stack.exact(), "--labels-into-source")
    assert ended.code == 0, ended.err
    array = zarr.open_consolidated(source)["labels/mitochondria/0"]
    assert np.array_equal(array[:], open_array(f"{source}/labels/mitochondria/0").read_all())
    assert zarr.open_consolidated(source).attrs["ome"]["multiscales"][0]["name"] == "theirs"


def test_labels_into_a_tiff_are_refused(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    ended = mitoscale("run", stack.image, str(tmp_path / "run"), *stack.exact(), "--labels-into-source")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["into source", "in run"])
def test_zarr_v2_source(where: str, mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path) -> None:
    """OME-Zarr 0.4 is read in place; labels cannot be added to it, and that is said before any work."""
    source, run = tmp_path / "old.zarr", str(tmp_path / "run")
    group = zarr.open_group(str(source), mode="w", zarr_format=2)
    array = group.create_array("0", shape=SHAPE, chunks=(8, 32, 32), dtype="uint8")
    array[:] = stack.phantom.image
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    transform = [{"type": "scale", "scale": [0.01, 0.01, 0.01]}]
    datasets = [{"path": "0", "coordinateTransformations": transform}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    if where == "in run":
        assert mitoscale("run", str(source), run, *stack.exact()).code == 0
        assert np.array_equal(labels_of(run), labels_of(finished.run))
    else:
        before = contents(source)
        ended = mitoscale("run", str(source), run, *stack.exact(), "--labels-into-source")
        assert (ended.code, len(ended.err.splitlines())) == (1, 1)
        assert contents(source) == before and not Path(run).exists()


def test_region_restricts(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run, region = str(tmp_path / "run"), "4:28,20:110,16:128"
    ended = mitoscale("run", stack.image, run, *stack.exact(), "--region", region, "--min-volume", "1")
    assert ended.code == 0, ended.err
    where = np.zeros(SHAPE, bool)
    where[4:28, 20:110, 16:128] = True
    labels = open_array(f"{RunFolder(run).labels}/0", missing="fill").read_all()
    assert not labels[~where].any()
    inside = Region.parse(region, SHAPE).slices
    assert np.array_equal(renamed(labels[inside]), renamed(stack.phantom.labels[inside]))
    found = read_table(RunFolder(run).detections)
    assert where[found["z"], np.rint(found["y"]).astype(int), np.rint(found["x"]).astype(int)].all()
    table = read_table(RunFolder(run).objects)
    cut = np.isin(np.arange(1, int(labels.max()) + 1), table["label"][table["touches_border"]])
    shell = labels[inside].copy()
    shell[1:-1, 1:-1, 1:-1] = 0
    assert np.flatnonzero(cut).tolist() == [b - 1 for b in np.unique(shell).tolist() if b]


def test_region_of_a_zarr_source(mitoscale: Call, stack: Stack, source: str, tmp_path: Path) -> None:
    run, region = str(tmp_path / "run"), "5:27,3:101,17:127"
    ended = mitoscale("run", source, run, *stack.exact(), "--region", region, "--min-volume", "1")
    assert ended.code == 0, ended.err
    inside = Region.parse(region, SHAPE).slices
    labels = open_array(f"{RunFolder(run).labels}/0", missing="fill").read_all()
    assert np.array_equal(renamed(labels[inside]), renamed(stack.phantom.labels[inside]))
    assert np.count_nonzero(labels) == np.count_nonzero(stack.phantom.labels[inside])


@pytest.mark.parametrize("region", ["0:16", "a:b,:,:"])
def test_no_region(region: str, mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    ended = mitoscale("run", stack.image, str(tmp_path / "run"), *stack.exact(), "--region", region)
    assert ended.code == 2 and f"{region!r} is not three ranges z,y,x" in ended.err and not (tmp_path / "run").exists()


@pytest.mark.parametrize("region", ["0:16,0:64,0:300", "8:8,:,:"])
def test_wrong_region(region: str, mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    ended = mitoscale("run", stack.image, str(tmp_path / "run"), *stack.exact(), "--region", region)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert ended.err.startswith("mitoscale: region") and not (tmp_path / "run").exists()


def test_changed_source_is_another_volume(mitoscale: Call, stack: Stack, source: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert mitoscale("convert", source, run, *stack.exact()).code == 0
    shutil.rmtree(source)
    spec = VolumeSpec(
        shape=(16, 64, 64),
        dtype="uint8",
        spacing=(10.0, 10.0, 10.0),
        chunks=(8, 32, 32),
        shards=(16, 64, 64),
        factors=((1, 1, 1),),
    )
    create_image(source, spec, name="another")
    open_array(f"{source}/0").write(Region.of_shape((16, 64, 64)), stack.phantom.image[:16, :64, :64].copy())
    before = contents(run)
    ended = mitoscale("run", source, run, *stack.exact())
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "another volume" in ended.err and contents(run) == before
