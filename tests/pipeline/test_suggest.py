"""The windows worth annotating: which they are, what is written, and that training takes them back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from commands import Call, Finished, Stack, labels_of

from mitoscale import pipeline
from mitoscale.core.errors import InputError
from mitoscale.core.training_settings import FinetuneSettings, TrainSettings
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.pipeline.suggest import suggested
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.storage.arrays import open_array
from mitoscale.training.crop import UNLABELLED
from mitoscale.training.finetune_windows import cut_windows
from mitoscale.training.volume_list import read_volume_list, read_volumes


@pytest.fixture
def windows(mitoscale: Call, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Windows of a run whose network is the truth: what holds most mitochondria is called the most doubtful."""
    monkeypatch.setattr("mitoscale.pipeline.suggest.doubt", lambda foreground, labels, threshold: float((labels > 0).mean()))
    ended = mitoscale("suggest", finished.run, "--n", "2", "--size", "64", "--out", str(tmp_path / "windows"))
    assert ended.code == 0, ended.err
    assert ended.out.count("in doubt") == 2 and "volumes.yaml" in ended.out
    return tmp_path / "windows"


def settings(windows: Path) -> TrainSettings:
    listed = str(windows / "volumes.yaml")
    return TrainSettings(volume=listed, truth="", out=str(windows / "w.safetensors"), volumes=read_volume_list(listed))


def test_windows_are_written_with_their_labels_alone(windows: Path, finished: Finished) -> None:
    entries = yaml.safe_load((windows / "volumes.yaml").read_text())
    assert len(entries) == 2
    run = pipeline.load(finished.run)
    whole, grey = open_array(run.plan.image, missing="fill").read(run.plan.region), read_grey(run.plan).normalisation
    for entry in entries:
        z, y, x = (int(part[1:]) for part in entry["name"].split("_")[1:])
        image, labels = (tifffile.imread(windows / entry[key]) for key in ("image", "truth"))
        assert image.shape == labels.shape and 1 < image.shape[0] <= 9 and max(image.shape[1:]) <= 64
        (own,) = (i for i, plane in enumerate(labels) if (plane != 65535).any())
        part = (z, slice(y, y + image.shape[1]), slice(x, x + image.shape[2]))
        found = labels_of(finished.run)[part]
        assert found.any() and len(np.unique(labels[own])) == len(np.unique(found))
        assert ((labels[own] > 0) == (found > 0)).all()
        assert (image[own] == grey.apply(whole)[part]).all(), "normalised as the volume is, not as the window alone would be"


@pytest.mark.parametrize("depth", [1, 5, 6])
def test_pictures_in_one_block_hold_several_windows(depth: int, mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    """Single pictures have blocks of their own size: what is worth annotating lies anywhere in them, not in their middle alone."""
    pictures, run = tmp_path / "pictures.tif", str(tmp_path / "run")
    tifffile.imwrite(pictures, stack.phantom.image[:depth], photometric="minisblack")
    options = [o for o in stack.oracle() if o not in ("--workers", "1")]
    ended = mitoscale("run", str(pictures), run, "--voxel-size", "1000,10,10", *options, "--block", "4,1024,1024")
    assert ended.code == 0, ended.err
    there = pipeline.load(run)
    height, width = there.plan.region.shape[1:]
    size = min(height, width) // 2
    assert len(there.plan.grid) == -(-depth // 4)
    found = suggested(there, 4 * depth, size)
    assert len(found) == depth * (height // size) * (width // size)
    shown = np.zeros(there.plan.region.shape, int)
    for window in found:
        assert window.region.shape == (1, size, size)
        shown[window.region.slices] += 1
    assert shown.max() == 1 and len(set(np.nonzero(shown)[0])) == depth, "no two windows overlap, and each picture has some"


def test_training_takes_them_back(windows: Path) -> None:
    wanted = settings(windows)
    for volume, entry in zip(read_volumes(wanted).learnt, wanted.volumes, strict=True):
        assert (volume.image == tifffile.imread(entry.image)).all()
        stored = tifffile.imread(str(entry.truth))
        assert ((volume.labels == UNLABELLED) == (stored == 65535)).all()
        assert ((volume.labels > 0) == ((stored > 0) & (stored < 65535))).all()


def test_fine_tuning_takes_them_back(windows: Path) -> None:
    """Of each window the annotated slice alone is asked about."""
    listed = str(windows / "volumes.yaml")
    fields = {"volume": listed, "truth": "", "out": "w.safetensors", "cache": str(windows / "cache"), "cache_bytes": 10**9}
    wanted = FinetuneSettings(sam="none", volumes=read_volume_list(listed), **fields)  # type: ignore[arg-type]
    tiny = Sam(SamConfig(image_size=64, width=32, depth=1, heads=2, embedding=32, decoder_mlp=32)).eval()
    volumes = read_volumes(wanted)
    windowed = cut_windows(wanted, tiny, volumes.learnt[0].spacing[2], volumes, 1)
    (plain,) = windowed.versions
    assert [cut.asked for cut in windowed.volumes] == [1, 1] and len(plain) == 2 and not windowed.held
    for i, entry in enumerate(wanted.volumes):
        labels = tifffile.imread(str(entry.truth))
        (own,) = (z for z, plane in enumerate(labels) if (plane != 65535).any())
        assert labels.shape[1:] == (64, 64) and ((plain.profiles(i) > 0) == (labels[own] > 0)).all()
        assert (plain.image(i) == tifffile.imread(entry.image)[own]).all()


def test_a_window_may_be_empty_but_not_all(windows: Path) -> None:
    wanted = settings(windows)
    for number, entry in enumerate(wanted.volumes):
        stored = tifffile.imread(str(entry.truth))
        tifffile.imwrite(str(entry.truth), np.where(stored == 65535, stored, 0).astype(np.uint16))
        if number == 0:
            assert not (read_volumes(wanted).learnt[0].labels > 0).any()
    with pytest.raises(InputError, match="hold no mitochondrion to learn from"):
        read_volumes(wanted)
    tifffile.imwrite(str(wanted.volumes[0].truth), np.full_like(stored, 65535))
    with pytest.raises(InputError, match="nothing but 65535"):
        read_volumes(wanted)


def test_a_run_that_is_sure_has_nothing_to_suggest(finished: Finished) -> None:
    """The network of this run is its truth."""
    with pytest.raises(InputError, match="nothing is in doubt"):
        suggested(pipeline.load(finished.run), 1, 64)


def test_what_cannot_be_suggested_is_refused(mitoscale: Call, finished: Finished, stack: Stack, tmp_path: Path) -> None:
    there = mitoscale("suggest", finished.run, "--out", str(tmp_path))
    assert there.code == 1 and "exists already" in there.err
    assert mitoscale("convert", stack.image, str(tmp_path / "run")).code == 0
    ended = mitoscale("suggest", str(tmp_path / "run"), "--out", str(tmp_path / "w"))
    assert ended.code == 1 and "finish mitoscale detect first" in ended.err and not (tmp_path / "w").exists()
