"""Slices looked at without a run are seen as a run's networks see them: padding counts for nothing and is mirrored into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Call
from test_grey_statistics import SHAPE, padded, textured

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block
from mitoscale.evaluation.grey_volume import open_grey
from mitoscale.ops.padding_detection import RIM
from mitoscale.ops.slice_padding import padding_of_slices
from mitoscale.pipeline import load
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.stages.network_view import network_view
from mitoscale.storage.tiff_writing import write_tiff
from mitoscale.training.annotated import read_annotated
from mitoscale.training.crop import UNLABELLED
from mitoscale.training.samples import CropSampler

NM = (10.0, 10.0, 10.0)
WHOLE = Region.of_shape(SHAPE)


def written(folder: Path, image: np.ndarray, truth: np.ndarray) -> tuple[str, str]:
    """Paths of an image and its truth."""
    write_tiff(str(folder / "volume.tif"), image, NM)
    write_tiff(str(folder / "truth.tif"), truth.astype(np.uint8), NM)
    return str(folder / "volume.tif"), str(folder / "truth.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_same_grey_values_and_padding_as_in_a_run(dtype: str, mitoscale: Call, tmp_path: Path) -> None:
    image, nothing = padded(dtype)
    some = np.zeros(SHAPE, bool)
    some[:, 80:90, 60:90] = True
    volume, truth = written(tmp_path, image, some)
    run = str(tmp_path / "run")
    ended = mitoscale("convert", volume, run, "--block", "16,256,256")
    assert ended.code == 0, ended.err
    plan = load(run).plan
    view = network_view(plan, read_grey(plan), image, Block(index=(0, 0, 0), core=WHOLE, halo=WHOLE))

    seen, padding = open_grey(volume, NM).read_tissue(WHOLE)
    assert np.array_equal(padding, view.hidden) and np.array_equal(seen, view.whole)
    assert padding.mean() > 0.9 * nothing.mean() and not (padding & ~nothing).any()

    pair = read_annotated(volume, truth, NM)
    assert pair.padding is not None
    assert np.array_equal(pair.padding, view.hidden) and np.array_equal(pair.image, view.whole)


def test_a_border_changes_nothing_inside_and_is_never_learnt(tmp_path: Path) -> None:
    image = textured()
    truth = np.zeros(SHAPE, bool)
    truth[:, 20:60, 30:90] = True
    (clean := tmp_path / "clean").mkdir()
    (bordered := tmp_path / "bordered").mkdir()
    around = ((0, 0), (64, 64), (64, 64))
    expected = read_annotated(*written(clean, image, truth), NM)
    found = read_annotated(*written(bordered, np.pad(image, around), np.pad(truth, around)), NM)
    inner = (slice(None), slice(64, -64), slice(64, -64))
    rim = (slice(None), slice(RIM, -RIM), slice(RIM, -RIM))  # an alignment may have mixed the outermost pixels with padding
    assert np.array_equal(found.image[inner][rim], expected.image[rim])
    labels = found.part((0, SHAPE[0]), 1.0).labels
    assert np.array_equal(labels[inner], expected.part((0, SHAPE[0]), 1.0).labels)
    labels[inner] = UNLABELLED
    assert (labels == UNLABELLED).all()
    sampler = CropSampler([found.part((0, SHAPE[0]), 1.0)], size=32, pixel_nm=10.0, context_nm=(0.0,))
    assert all((sampler.draw(np.random.default_rng(seed)).labels != UNLABELLED).any() for seed in range(50))


def test_a_drawing_has_no_padding(mitoscale: Call, tmp_path: Path) -> None:
    """Two grey values: what looks like padding is the background, in a run and without one."""
    truth = np.zeros(SHAPE, bool)
    truth[:, 20:60, 30:90] = True
    image = np.where(truth, 200, 0).astype(np.uint8)
    volume, labels = written(tmp_path, image, truth)
    run = str(tmp_path / "run")
    ended = mitoscale("convert", volume, run)
    assert ended.code == 0, ended.err
    assert not read_grey(load(run).plan).padding_digest
    seen, padding = open_grey(volume, NM).read_tissue(WHOLE)
    pair = read_annotated(volume, labels, NM)
    assert not padding.any() and pair.padding is None
    assert np.array_equal(seen > 0, truth) and np.array_equal(pair.image, seen)


def test_nothing_but_one_grey_value_is_no_contrast_and_tissue_alone_is_left_as_it_is() -> None:
    image = textured()
    padding, bins = padding_of_slices(image)
    assert not padding.any() and not bins.size
    padding, bins = padding_of_slices(np.zeros((2, 40, 50), np.uint16))
    assert padding.all() and bins.tolist() == [0]
