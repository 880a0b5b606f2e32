"""Slices half a micrometre apart or more are single pictures: nothing of one counts for another."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tifffile
from commands import Call, Stack

from mitoscale.pipeline import load
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table


def test_each_profile_is_an_object_of_its_own_picture(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    pictures, run = tmp_path / "pictures.tif", str(tmp_path / "run")
    tifffile.imwrite(pictures, stack.phantom.image[:6], photometric="minisblack")
    options = [o for o in stack.oracle() if o not in ("--workers", "1")]
    ended = mitoscale("run", str(pictures), run, "--voxel-size", "1000,10,10", *options, "--block", "4,64,64")
    assert ended.code == 0, ended.err
    folder, grid = RunFolder(run), load(run).plan.grid
    assert len(grid) > grid.counts[0] > 1 and all(block.halo.shape[0] == block.core.shape[0] for block in grid.blocks())
    objects, contacts = read_table(folder.objects), read_table(folder.contacts)
    picture = dict(zip(objects["label"].tolist(), objects["bbox_z0"].tolist(), strict=True))
    assert (objects["n_slices"] == 1).all() and set(picture.values()) == set(range(6))
    assert all(picture[a] == picture[b] for a, b in zip(contacts["label"].tolist(), contacts["other"].tolist(), strict=True))
    height, width = stack.phantom.image.shape[1:]
    met = (objects["bbox_y0"] <= 0) | (objects["bbox_x0"] <= 0) | (objects["bbox_y1"] >= height) | (objects["bbox_x1"] >= width)
    np.testing.assert_array_equal(objects["touches_border"], met)
    assert not met.all()


def test_pictures_of_one_block_each_share_no_voxel(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    """Faces lie between pictures alone then, and no task writes anything of them."""
    pictures, run = tmp_path / "pictures.tif", str(tmp_path / "run")
    tifffile.imwrite(pictures, stack.phantom.image[:6], photometric="minisblack")
    options = [o for o in stack.oracle() if o not in ("--workers", "1")]
    command = ("run", str(pictures), run, "--voxel-size", "1000,10,10", *options, "--block", "4,1024,1024")
    assert (ended := mitoscale(*command)).code == 0, ended.err
    grid = load(run).plan.grid
    assert grid.counts == (2, 1, 1) and grid.margin[0] == 0
    assert len(read_table(RunFolder(run).objects)["label"])
    again = mitoscale(*command)
    assert again.code == 0 and set(re.findall(r"(\d+) of \d+ tasks computed", again.out + again.err)) == {"0"}, again.err
    assert mitoscale("status", run).code == 0
