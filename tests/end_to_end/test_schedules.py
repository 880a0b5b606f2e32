"""The same labels bit for bit, whatever the order of tasks, the number of workers, and what dies or is done twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import BLOCK, Call, Stack, labels_of
from hostile import Deadly, Hostile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mitoscale.cluster.clusters import ClusterSettings, start
from mitoscale.cluster.executor import Executor
from mitoscale.core.errors import StoppedError
from mitoscale.pipeline import Observer, execute, load
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table

STAGES = ("segment", "stitch", "relabel")


@pytest.fixture(scope="module")
def undisturbed(mitoscale: Call, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose masks are full of mistakes, other ones in each block: what is stitched is not simply the truth."""
    run = str(tmp_path_factory.mktemp("undisturbed") / "run")
    oracle = "mitoscale.nets.oracle"
    options = ["--detector", f"{oracle}:Foreground", "--detector-option", f"truth={stack.truth}", "--min-volume", "1"]
    options += ["--segmenter", "synthetic.spoilt:SpoiltFragments", "--segmenter-option", f"truth={stack.truth}"]
    options += ["--segmenter-option", "strength=0.5", "--block", ",".join(map(str, BLOCK)), "--workers", "1"]
    ended = mitoscale("run", stack.image, run, *options)
    assert ended.code == 0, ended.err
    labels = labels_of(run)
    assert ((labels > 0) != (stack.phantom.labels > 0)).any() and len(np.unique(labels)) > 5
    return run


def again(run: str, executor: Executor) -> int:
    """Segment, stitch and relabel once more, starting again where it stops; how often it stopped."""
    redo: str | None = "segment"
    for stops in range(1000):
        try:
            execute(load(run), STAGES, executor, Observer(), redo=redo)
        except StoppedError:
            redo = None
        else:
            return stops
    raise AssertionError("it never ends")


def assert_same(run: str, undisturbed: str) -> None:
    """Equal labels, and an equal seam report."""
    np.testing.assert_array_equal(labels_of(run), labels_of(undisturbed))
    mine, theirs = (read_table(RunFolder(r).edges_table) for r in (run, undisturbed))
    assert mine.keys() == theirs.keys()
    for name, values in mine.items():
        np.testing.assert_array_equal(values, theirs[name])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_twenty_random_schedules(seed: int, undisturbed: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tasks in any order, some done twice, and a client that stops and is started again."""
    run = shutil.copytree(undisturbed, tmp_path_factory.mktemp("schedule") / "run").as_posix()
    executor = Hostile(seed)
    assert again(run, executor) == executor.stops
    assert executor.forgotten > 0
    assert_same(run, undisturbed)
    shutil.rmtree(run)


def workers_lost(run: str) -> int:
    return sum(event.kind == "worker lost" for event in EventLog(RunFolder(run).events).read())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_that_are_killed(workers: int, undisturbed: str, tmp_path: Path) -> None:
    """A real cluster of one, two and four workers, whose processes are killed under a quarter of the tasks."""
    run = shutil.copytree(undisturbed, tmp_path / "run").as_posix()
    (tmp_path / "attempts").mkdir()
    with start(ClusterSettings(workers=workers, threads=1, memory="1 GiB", worker_ttl="60 s")) as cluster:
        again(run, Deadly(cluster.executor, str(tmp_path / "attempts"), seed=workers))
    attempted = {path.name for path in (tmp_path / "attempts").iterdir()}
    assert {f"{stage}-{key.name}" for stage in STAGES for key in load(run).stage(stage).keys()} <= attempted  # noqa: SIM118
    assert workers_lost(run) > workers_lost(undisturbed)
    assert_same(run, undisturbed)
