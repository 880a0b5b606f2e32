"""Runs and labels by call: the same as by command, progress is told, and wrong settings change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from commands import BLOCK, Finished, Stack, begin, contents, finish, labels_of, this_process

import mitoscale as api
from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.settings import STAGES
from mitoscale.storage.tiff_writing import write_tiff


@pytest.fixture(scope="module")
def exact(stack: Stack) -> dict[str, Any]:
    """The settings of the finished run, as a call has them."""
    truth = {"truth": stack.truth}
    return {
        "block": BLOCK,
        "detector": "known_truth:detector",
        "detector_option": truth,
        "segmenter": "known_truth:segmenter",
        "segmenter_option": truth,
    }


@pytest.fixture
def told() -> Iterator[list[tuple[str, int, int]]]:
    yield []


def test_a_run_is_that_of_the_command(
    stack: Stack, finished: Finished, exact: dict[str, Any], tmp_path: Path, told: list[tuple[str, int, int]]
) -> None:
    run = tmp_path / "run"
    opened = api.run(stack.image, run, workers=0, progress=lambda *heard: told.append(heard), **exact)
    np.testing.assert_array_equal(opened.labels[0].compute(), labels_of(finished.run))
    assert opened.plan().settings == api.open_run(finished.run).plan().settings
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == list(STAGES)
    assert [(done, total) for stage, done, total in told if stage == "detect"] == [(n, 8) for n in range(9)]
    log = (run / "mitoscale.log").read_text()
    assert "detect begins, 0 of 8 tasks are done" in log and "measure ends, 8 of 8 tasks computed" in log
    told.clear()
    again = api.run(stack.image, run, workers=0, progress=lambda *heard: told.append(heard), **exact)
    assert all(done == total for _, done, total in told)  # nothing was done anew
    assert again.status().finished and (run / "mitoscale.log").read_text() == log


def test_the_dashboard_shows_the_run(
    stack: Stack, exact: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, int, int]]
) -> None:
    """The page is added to a cluster that is started for it, though the job is small; who watches hears of every task."""
    pages: list[str] = []
    heard = []
    monkeypatch.setattr("mitoscale.api.running.start", this_process)
    monkeypatch.setattr("mitoscale.dashboard.plugin.add_page", lambda client, link: f"{link}/mitoscale")
    monkeypatch.setattr("mitoscale.dashboard.watch.Watch.task_done", lambda watch, name, task, voxels: heard.append((name, task)))
    watched = {"region": np.s_[0:16, 0:64, 0:64], "progress": lambda *words: told.append(words)}
    api.run(stack.image, tmp_path / "run", dashboard=pages.append, **watched, **exact)
    assert pages == ["(none)/mitoscale"]
    assert len(heard) == sum(done > 0 for _, done, _ in told) > 4
    with pytest.raises(InputError, match="give workers=1 or more"):
        api.run(stack.image, tmp_path / "other", dashboard=print, workers=0)


def test_labels_of_an_array_are_those_of_the_command(stack: Stack, finished: Finished, exact: dict[str, Any]) -> None:
    spacing = stack.phantom.spacing
    np.testing.assert_array_equal(api.segment(stack.phantom.image, spacing, **exact), labels_of(finished.run))
    lazy = da.from_array(stack.phantom.image.astype(np.int16), chunks=16)
    np.testing.assert_array_equal(api.segment(lazy, voxel_size=spacing, **exact), labels_of(finished.run))


@pytest.mark.slow
def test_the_embedded_networks_give_the_command_s_labels_bit_for_bit(stack: Stack, tmp_path: Path) -> None:
    image, run = stack.phantom.image[:16, :96, :96], str(tmp_path / "run")
    write_tiff(str(tmp_path / "crop.tif"), image, stack.phantom.spacing)
    ended = finish(begin("run", str(tmp_path / "crop.tif"), run, "--workers", "1"))  # with a cluster, in a process of its own
    assert ended.code == 0, ended.err
    labels = api.segment(image, stack.phantom.spacing)
    assert labels.dtype == labels_of(run).dtype and labels.any()
    np.testing.assert_array_equal(labels, labels_of(run))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"treshold": 0.5}, "there is no setting treshold; known are voxel_size, region"),
        ({"threshold": 1.5}, "setting threshold: .* not 1.5"),
        ({"voxel_size": (5, 0, 5)}, "setting voxel_size.1: .* not 0"),
        ({"redo": "everything"}, "setting redo"),
        ({"region": "0:99,:,:"}, "leaves the volume"),
        ({"region": ((0, 99), (0, 64), (0, 64))}, "leaves the volume"),
        ({"region": ((0, 9), (0, 64))}, "setting region: give text such as .* or three pairs or slices"),
        ({"sam": "nobody-knows"}, "nobody-knows"),
    ],
)
def test_a_wrong_setting_changes_nothing(stack: Stack, tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        api.run(stack.image, tmp_path / "run", workers=0, **settings)
    assert not list(tmp_path.iterdir())


def test_other_settings_for_the_same_folder_are_refused(
    stack: Stack, finished: Finished, exact: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(finished.run, tmp_path / "run")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="was made with other settings"):
        api.run(stack.image, tmp_path / "run", workers=0, **exact, min_volume=2e6)
    assert contents(tmp_path) == before


def test_what_is_given_up_is_told(stack: Stack, exact: dict[str, Any], tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    fails.touch()
    failing = exact | {"detector_option": {"truth": stack.truth, "fails": str(fails)}}
    with pytest.warns(UserWarning, match="given up; mitoscale retry"):
        opened = api.run(stack.image, tmp_path / "run", workers=0, **failing)
    lost = {stage.name: stage.quarantined for stage in opened.status().stages}
    assert lost["detect"] and "this block is beyond me" in next(iter(lost["detect"].values()))
    with pytest.raises(BlockError, match="beyond me"):
        api.segment(stack.phantom.image, stack.phantom.spacing, **failing)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((9, 9), np.uint8), r"give one slice as array\[None\]"),
        (np.zeros((4, 9, 9), bool), "bool is not read"),
        (np.zeros((4, 9, 9), np.float64), "float64 is not read; convert it"),
        (np.zeros((4, 9, 9), np.uint8), "no contrast"),
    ],
)
def test_arrays_that_are_no_volume_are_refused(array: np.ndarray, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        api.segment(array, (5.0, 5.0, 5.0), segmenter="unet", scratch=str(tmp_path))
    assert not list(tmp_path.iterdir())
