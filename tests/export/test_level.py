"""What is exported is what the run has there, whatever its shape, region and level."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import content, shapes_and_regions, stored

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region
from mitoscale.export import level as level_module
from mitoscale.export.csv_table import write_table
from mitoscale.export.level import Level
from mitoscale.export.renumber import labels_of
from mitoscale.export.tiff import write_file, write_folder
from mitoscale.storage.stored_files import remove_tree


@settings(max_examples=8)
@given(where=shapes_and_regions(), first=st.integers(0, 2), seed=st.integers(0, 99))
def test_voxels_of_any_region_and_level(where: tuple[tuple[int, int, int], Region], first: int, seed: int) -> None:
    shape, region = where
    labels = np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint32)
    with tempfile.TemporaryDirectory() as folder:
        made = content(Path(folder), labels, region=region, first=first)
        for number, level in enumerate(made.labels, start=first):
            expected = stored(made, number)
            np.testing.assert_array_equal(np.stack(list(level.planes(2))), expected)
            found = np.full(level.shape, 99, np.uint32)
            for block in level.blocks((1, 2, 3)):
                assert (found[block.slices] == 99).all()  # each voxel once
                found[block.slices] = level.read(block)
            np.testing.assert_array_equal(found, expected)
        write_file(made, f"{folder}/x.tif", ome=False)
        expected = stored(made, first)
        np.testing.assert_array_equal(tifffile.imread(f"{folder}/x.tif").reshape(expected.shape), expected)


def test_places_are_those_of_the_volume(tmp_path: Path) -> None:
    """The first voxel of a level is the middle of the level-0 voxels that it spans."""
    region = Region(start=(3, 8, 9), stop=(8, 20, 21))
    levels = content(tmp_path, np.ones((9, 24, 24), np.uint32), region=region, spacing=(50.0, 4.0, 4.0)).labels
    assert levels[0].origin == (150.0, 32.0, 36.0)
    assert levels[1].origin == (150.0, 34.0, 34.0)  # level-0 voxels 8 and 9
    assert levels[2].origin == (125.0, 38.0, 38.0)  # 2 and 3 in z, 8 to 11 in y and x


def test_little_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level_module, "SLAB_BYTES", 4 * 8 * 8 * 4)
    made = content(tmp_path, np.ones((9, 40, 40), np.uint32))
    read: list[int] = []
    inner = Level.read
    monkeypatch.setattr(Level, "read", lambda self, region: read.append(region.size) or inner(self, region))
    for block in made.labels[0].blocks((2, 4, 4)):
        made.labels[0].read(block)
    assert max(read) <= 4 * 8 * 8 and sum(read) == 9 * 40 * 40
    read.clear()
    assert sum(1 for _ in made.labels[0].planes()) == 9 and max(read) == 40 * 40  # a slice is the least


def test_outside_of_what_was_worked_on_is_background(tmp_path: Path) -> None:
    made = content(tmp_path, np.ones((8, 16, 16), np.uint32))
    part = Region(start=(0, 0, 0), stop=(4, 16, 8))
    convert = made.plan.settings.convert.model_copy(update={"region": part})
    plan = made.plan.model_copy(update={"settings": made.plan.settings.model_copy(update={"convert": convert})})
    for level in made.__class__(**{**vars(made), "plan": plan}).labels:
        found = level.read(Region.of_shape(level.shape))
        inside = np.zeros(level.shape, bool)
        inside[part.downsampled(level.factor).slices] = True
        np.testing.assert_array_equal(found > 0, inside)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_shard_that_is_gone_is_no_background(tmp_path: Path, first: int) -> None:
    made = content(tmp_path, np.ones((8, 32, 32), np.uint32), first=first)
    shard = next(path for path in (Path(made.group) / str(first) / "c").rglob("*") if path.is_file())
    shard.unlink()
    for name, write in (("file", partial(write_file, ome=False)), ("folder", write_folder)):
        with pytest.raises(BlockError, match="never written"):
            write(made, str(tmp_path / name))


@pytest.mark.parametrize(("highest", "dtype"), [(65_535, np.uint16), (65_536, np.uint32), (2**32, None)])
def test_labels_choose_their_width(tmp_path: Path, highest: int, dtype: type | None) -> None:
    labels = np.zeros((3, 4, 5), np.uint64)
    labels[2, 3, 4] = highest
    made = content(tmp_path, labels)
    if dtype is None:
        with pytest.raises(InputError, match="does not fit in the 32 bits"):
            write_file(made, str(tmp_path / "x.tif"), ome=True)
        return
    write_file(made, str(tmp_path / "x.tif"), ome=True)
    found = tifffile.imread(tmp_path / "x.tif")
    assert found.dtype == dtype and found.max() == highest
    remove_tree(str(tmp_path / "x.tif"))


def test_rows_without_a_place_have_no_region(tmp_path: Path) -> None:
    from mitoscale.storage.tables import write_table as write

    made = content(tmp_path, np.ones((3, 4, 5), np.uint32), region=Region.of_shape((1, 4, 5)))
    write(made.table, {"cell": np.arange(3)})
    with pytest.raises(InputError, match="leave --region away"):
        write_table(made, str(tmp_path / "x.csv"))


def test_labels_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From all blocks and levels, each once."""
    monkeypatch.setattr("mitoscale.export.renumber._GATHERED", 3)
    monkeypatch.setattr("mitoscale.export.renumber._STEP", (1, 4, 4))
    monkeypatch.setattr(level_module, "SLAB_BYTES", 64)
    labels = np.random.default_rng(2).integers(0, 40, (5, 20, 20)).astype(np.uint32) * 100_000
    made = content(tmp_path, labels)
    np.testing.assert_array_equal(labels_of(made.labels), np.unique(labels)[1:])
