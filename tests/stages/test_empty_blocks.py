"""What is padding, or holds nothing, is not read: requests and time follow the tissue."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Call, labels_of

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, CoarseShard, Face
from mitoscale.core.result import BlockResult
from mitoscale.pipeline import load
from mitoscale.pipeline.run import Run
from mitoscale.stages.convert import Convert
from mitoscale.stages.earlier_outputs import known_empty, seal, seals_of_zeros
from mitoscale.stages.relabel import Relabel
from mitoscale.stages.stage import Stage
from mitoscale.storage.arrays import Array, open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.tiff_writing import write_tiff

Coarsen = Callable[[Stage, CoarseShard], BlockResult]

SHAPE = (8, 64, 480)
TISSUE, OBJECT = (slice(None), slice(None), slice(0, 90)), (slice(1, 7), slice(10, 50), slice(20, 60))


@pytest.fixture
def run(mitoscale: Call, tmp_path: Path) -> str:
    """A finished run of five blocks along x, of which only the first one has tissue."""
    image = np.zeros(SHAPE, np.uint8)
    image[TISSUE] = np.random.default_rng(2).normal(120, 20, image[TISSUE].shape).clip(1, 254)
    truth = np.zeros(SHAPE, np.uint8)
    truth[OBJECT] = 1
    write_tiff(str(tmp_path / "volume.tif"), image, (10.0, 10.0, 10.0))
    np.save(tmp_path / "truth.npy", truth)
    folder = str(tmp_path / "run")
    ended = mitoscale("run", str(tmp_path / "volume.tif"), folder, *options_of(folder))
    assert ended.code == 0, ended.err
    assert np.array_equal(labels_of(folder) > 0, truth > 0)
    return folder


def options_of(run: str) -> list[str]:
    """How it was made."""
    oracle = ["--detector", "known_truth:detector", "--detector-option", f"truth={Path(run).parent / 'truth.npy'}"]
    return ["--segmenter", "unet", "--block", "8,64,96", "--min-volume", "1", *oracle]


def told(run: Run, stage: str, name: str) -> str:
    """The checksum that a task had."""
    lines = Ledger(RunFolder(run.plan.run).ledger(stage)).lines(run.plan.settings.token(stage))
    return next(line.checksum for line in lines if line.name == name)


def again(run: Run, stage: str, key: Block | Face) -> BlockResult:
    """Do a task once more."""
    result = run.stage(stage).process(key)
    assert result.checksum == told(run, stage, key.name)
    return result


def test_blocks_without_tissue_are_done_without_reading_an_array(run: str) -> None:
    folder, loaded = RunFolder(run), load(run)
    grid = loaded.plan.grid
    assert grid.counts == (1, 1, 5)
    far, face = grid.block((0, 0, 4)), next(f for f in grid.faces() if f.high.index == (0, 0, 4))
    for array in (f"{folder.volume}/0", folder.foreground, folder.fragments, f"{loaded.plan.labels}/0"):
        shutil.rmtree(Path(array) / "c")  # whoever reads a voxel now is told that it is missing
        (Path(array) / "c").mkdir()
    assert again(loaded, "segment", far).counts["bytes_read"] == far.halo.size  # of the foreground, which is known
    assert again(loaded, "stitch", face).counts["edges"] == 0
    assert again(loaded, "relabel", far).counts["object_voxels"] == 0
    assert again(loaded, "measure", far).counts["objects"] == 0
    detected = again(loaded, "detect", far)
    assert detected.counts["flat_blocks"] == 1 and detected.counts["flat_voxels"] == far.core.size
    assert "bytes_read" not in detected.counts
    first = grid.block((0, 0, 0))
    for stage in ("detect", "segment", "relabel", "measure"):  # and with tissue all of them do read
        with pytest.raises(Exception, match="never written"):
            loaded.stage(stage).process(first)


def test_coarse_shards_over_nothing_are_written_without_reading_the_finer_level(
    run: str, mitoscale: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = load(run).plan
    paths = [f"{root}/{level}" for root in (plan.labels, RunFolder(run).volume) for level in range(1, len(plan.spec.factors))]
    before = [open_array(path).read_all() for path in paths]
    assert before[0].any() and len(paths) >= 2
    asked: dict[str, list[bool]] = {"convert": [], "relabel": []}
    for kind in (Convert, Relabel):

        def noted(self: Stage, key: CoarseShard, coarsen: Coarsen = kind.coarsen) -> BlockResult:
            asked[self.name].append(key.empty)
            if not key.empty:
                return coarsen(self, key)
            with monkeypatch.context() as patch:  # whoever reads finds 7 everywhere
                patch.setattr(Array, "read", lambda self, region: np.full(region.shape, 7, self.dtype))
                return coarsen(self, key)

        monkeypatch.setattr(kind, "coarsen", noted)
    ended = mitoscale("run", str(Path(run).parent / "volume.tif"), run, *options_of(run), "--redo", "convert")
    assert ended.code == 0, ended.err
    for found, wanted in zip((open_array(path).read_all() for path in paths), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert set(asked["relabel"]) == {True, False} and False in asked["convert"]


def test_without_a_segmenter_nobody_looks_at_the_image(run: str) -> None:
    loaded = load(run)
    shutil.rmtree(Path(RunFolder(run).volume) / "0" / "c")
    assert again(loaded, "segment", loaded.plan.grid.block((0, 0, 0))).counts["fragments"] == 1


def test_only_a_region_that_is_sealed_as_nothing_is_known_to_be_empty() -> None:
    data = np.zeros((2, 4, 6), np.uint8)
    data[1, 3, 5] = 7
    covers = Region.of_shape(data.shape)
    nothing = Region(start=(0, 0, 0), stop=(2, 4, 5))
    seals = seal(data, covers, [nothing, covers])
    assert known_empty(nothing, "uint8", seals) and not known_empty(covers, "uint8", seals)
    assert not known_empty(nothing, "uint32", seals), "of another array"
    assert not known_empty(Region(start=(0, 0, 0), stop=(1, 1, 1)), "uint8", seals), "nobody has sealed it"
    assert seals_of_zeros([nothing, covers], "uint8") == seal(np.zeros_like(data), covers, [nothing, covers])


@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_region_around_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(int(rng.integers(1, 5))):
        start = rng.integers(0, 20, 3)
        parts.append(Region(start=tuple(start.tolist()), stop=tuple((start + rng.integers(1, 9, 3)).tolist())))
    covered = np.zeros((30, 30, 30), bool)
    for part in parts:
        covered[part.slices] = True
    places = np.argwhere(covered)
    assert Region.around(parts) == Region(start=tuple(places.min(0).tolist()), stop=tuple((places.max(0) + 1).tolist()))
