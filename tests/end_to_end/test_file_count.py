"""How many files a run makes: few for each block, and never many in one folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Stack

from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.settings import STAGES
from mitoscale.ops.phantom import make_phantom
from mitoscale.pipeline import Observer, StageOutcome, execute, load, make_plan, start
from mitoscale.stages.source import open_source
from mitoscale.storage.tiff_writing import write_tiff


def files_of_blocks(run: str) -> int:
    """All but what there is once a run: metadata of arrays, ledgers, tables and report."""
    parts = (Path(run, "volume.zarr"), Path(run, "work"))
    return sum(1 for part in parts for path in part.rglob("*") if path.is_file() and path.name != "zarr.json")


class Counting(Observer):
    """Counts files after each task."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count, self.most, self.at_end = count, 0, dict[str, int]()

    def task_done(self, name: str, task: str, voxels: float) -> None:
        self.most = max(self.most, self._count())

    def stage_finished(self, outcome: StageOutcome) -> None:
        self.at_end[outcome.name] = self._count()


@pytest.fixture
def wide(tmp_path: Path) -> Stack:
    """A phantom of more than one level."""
    phantom = make_phantom((32, 128, 256), objects=12, seed=4, touching=0.0)
    write_tiff(str(tmp_path / "wide.tif"), phantom.image, phantom.spacing)
    np.save(tmp_path / "wide.npy", phantom.labels)
    return Stack(phantom=phantom, image=str(tmp_path / "wide.tif"), truth=str(tmp_path / "wide.npy"))


@pytest.mark.parametrize(("name", "blocks", "levels"), [("stack", 8, 1), ("wide", 16, 2)])
def test_at_most_eight_files_a_block_while_it_runs_and_three_afterwards(
    name: str, blocks: int, levels: int, mitoscale: Call, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    stack: Stack = request.getfixturevalue(name)
    first, run = str(tmp_path / "first"), str(tmp_path / "run")
    assert mitoscale("convert", stack.image, first, *stack.exact()).code == 0
    begun = start(make_plan(open_source(stack.image, None), run, load(first).plan.settings))
    assert (len(begun.plan.grid), len(begun.plan.spec.factors)) == (blocks, levels)
    counting = Counting(lambda: files_of_blocks(run))
    execute(begun, STAGES, SerialExecutor(), counting)
    assert counting.most <= 8 * blocks, counting.at_end
    assert counting.most <= begun.plan.file_count <= counting.most + 16, "plan tells what there is"
    kinds = [path for path in Path(run, "work").rglob("*") if path.suffix == ".tables"]
    assert len(kinds) == 7, "one file for each kind of table, once all are gathered"
    copy = shutil.copytree(run, tmp_path / "copy").as_posix()
    assert mitoscale("clean", copy).code == 0
    assert files_of_blocks(copy) == begun.plan.kept_file_count <= 3 * blocks
