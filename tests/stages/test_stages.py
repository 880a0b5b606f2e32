"""Stages as values: picklable, with one task a key, and with results that do not depend on the order of tasks."""

from __future__ import annotations

import fcntl
import pickle
import random
import threading
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import SHAPE, Finished, Stack, labels_of

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.executor import SerialExecutor
from mitoscale.cluster.retries import Failure
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.request import RunRequest
from mitoscale.core.settings import STAGES, RunSettings
from mitoscale.pipeline import Observer, StageOutcome, execute, load, locked, make_plan, settings_for, start
from mitoscale.pipeline import finished as is_finished
from mitoscale.stages.fragment_slots import read_slot
from mitoscale.stages.source import open_source
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table


class Heard(Observer):
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int, int]] = []
        self.tasks: dict[str, float] = {}
        self.outcomes: list[StageOutcome] = []

    def stage_started(self, name: str, total: int, done: Collection[str]) -> None:
        self.started.append((name, total, len(done)))

    def task_done(self, name: str, task: str, voxels: float) -> None:
        self.tasks[name] = self.tasks.get(name, 0.0) + voxels

    def stage_finished(self, outcome: StageOutcome) -> None:
        self.outcomes.append(outcome)


class Shuffled:
    """An executor that does tasks in any order, and each of them from its pickle, as workers do."""

    def run(self, tasks: StageTasks, keys: Iterable[Any], **options: Any) -> list[Failure]:
        """See :class:`mitoscale.cluster.executor.Executor`."""
        keys = list(keys)
        random.Random(3).shuffle(keys)
        failures = []
        for key in keys:
            copy, copied = pickle.loads(pickle.dumps((tasks.function, key)))
            failures += SerialExecutor().run(replace(tasks, function=copy), [copied], **options)
        return failures


def settings_of(finished: Finished) -> RunSettings:
    return load(finished.run).plan.settings


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_travels_as_a_small_value(name: str, finished: Finished) -> None:
    stage = load(finished.run).stage(name)
    sent = pickle.dumps(stage.process)
    assert len(sent) < 10_000
    assert pickle.loads(sent).__self__ == stage
    keys = list(stage.keys())
    assert len(keys) == stage.count()
    assert len({key.name for key in keys}) == len(keys)
    assert stage.name == name


def test_any_order_of_tasks_gives_the_same_bits(finished: Finished, stack: Stack, tmp_path: Path) -> None:
    source = open_source(stack.image, None)
    run = start(make_plan(source, str(tmp_path / "run"), settings_of(finished)))
    heard = Heard()
    execute(run, STAGES, Shuffled(), heard)
    assert np.array_equal(labels_of(str(tmp_path / "run")), labels_of(finished.run))
    mine, theirs = (read_table(RunFolder(r).objects) for r in (str(tmp_path / "run"), finished.run))
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    assert [name for name, _, _ in heard.started] == [o.name for o in heard.outcomes] == list(STAGES)
    for stage in ("convert", "detect", "segment", "relabel", "measure"):
        assert heard.tasks[stage] == np.prod(SHAPE), stage


def test_finished_tells_which_stages_are_done(finished: Finished) -> None:
    run = load(finished.run)
    assert all(is_finished(run, name) for name in STAGES)
    changed = run.plan.settings.model_copy(update={"stitch": run.plan.settings.stitch.model_copy(update={"overlap": 0.4})})
    other = type(run)(plan=run.plan.model_copy(update={"settings": changed}))
    assert [is_finished(other, name) for name in STAGES] == [True] * 3 + [False] * 4


def test_fragments_are_stored_over_the_whole_read_region(finished: Finished, stack: Stack) -> None:
    plan = load(finished.run).plan
    for block in plan.grid.blocks():
        slot = read_slot(plan, block, block.halo)
        assert np.array_equal(slot > 0, stack.phantom.labels[block.halo.slices] > 0)


def test_foreground_is_the_detectors(finished: Finished, stack: Stack) -> None:
    foreground = open_array(RunFolder(finished.run).foreground).read(Region.of_shape(SHAPE))
    assert np.array_equal(foreground, np.where(stack.phantom.labels > 0, 255, 0))


def test_each_profile_is_detected_once(finished: Finished, stack: Stack) -> None:
    """A slice whose profiles are all round and apart has as many detections as profiles, also where blocks meet."""
    import cc3d

    found = read_table(RunFolder(finished.run).detections)
    assert (np.bincount(found["z"], minlength=SHAPE[0]) >= 1).all()
    for z in range(0, SHAPE[0], 5):
        profiles = cc3d.connected_components(stack.phantom.labels[z], connectivity=8)
        here = found["z"] == z
        y, x = (np.rint(found[a][here]).astype(int) for a in "yx")
        assert set(profiles[y, x].tolist()) == set(range(1, int(profiles.max()) + 1))


@pytest.mark.parametrize("path", ["s3://bucket/volume.zarr", "nowhere.tif"])
def test_source_that_cannot_be_read(path: str) -> None:
    with pytest.raises(InputError):
        open_source(path, (5.0, 5.0, 5.0))


def test_the_plan_of_a_run_in_progress_stays(stack: Stack, tmp_path: Path) -> None:
    source = open_source(str(stack.image), (10, 10, 10))
    run = tmp_path / "run"
    first, second = (
        make_plan(source, str(run), settings_for(source, RunRequest(block=(16, 32, 32), threshold=t), threads=1))
        for t in (0.5, 0.6)
    )
    run.mkdir()
    with locked(str(run)), pytest.raises(InputError, match="another mitoscale is working"):
        start(first)
    assert not (run / "run.json").exists()
    start(first)
    before = (run / "run.json").read_bytes()
    with locked(str(run)), pytest.raises(InputError, match="another mitoscale is working"):
        start(second)
    assert (run / "run.json").read_bytes() == before


def test_a_run_whose_settings_were_changed_before_it_began_is_refused(stack: Stack, tmp_path: Path) -> None:
    source = open_source(str(stack.image), (10, 10, 10))
    first, second = (
        start(
            make_plan(source, str(tmp_path / "run"), settings_for(source, RunRequest(block=(16, 32, 32), threshold=t), threads=1))
        )
        for t in (0.5, 0.6)
    )
    with pytest.raises(InputError, match="another command has changed the settings"):
        execute(first, STAGES, SerialExecutor(), Observer())
    assert load(second.plan.run).plan == second.plan and not is_finished(second, "convert")


def test_a_report_that_cannot_be_written_leaves_the_older_one(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Path(RunFolder(finished.run).report)
    before = report.read_bytes()
    half = "x" * 10 + "\ud800"  # cannot be encoded: writing ends in the middle
    monkeypatch.setattr("mitoscale.report.build.render", lambda content: half)
    with pytest.raises(UnicodeEncodeError):
        load(finished.run).stage("report").finish([], {})
    assert report.read_bytes() == before


def test_a_look_at_the_status_refuses_no_run_that_starts(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        looked = threading.Timer(0.1, fcntl.flock, (file, fcntl.LOCK_UN))
        looked.start()
        with locked(str(tmp_path)):
            assert looked.finished.is_set()
