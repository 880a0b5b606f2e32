"""How many files a run makes: few for each block, and never many in one folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from commands import Call, Finished, Stack

from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.settings import STAGES
from mitoscale.pipeline import Observer, StageOutcome, execute, load, make_plan, start
from mitoscale.stages.source import open_source


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


def test_at_most_eight_files_a_block_while_it_runs_and_three_afterwards(
    mitoscale: Call, finished: Finished, stack: Stack, tmp_path: Path
) -> None:
    source, run = open_source(stack.image, None), str(tmp_path / "run")
    begun = start(make_plan(source, run, load(finished.run).plan.settings))
    counting = Counting(lambda: files_of_blocks(run))
    execute(begun, STAGES, SerialExecutor(), counting)
    blocks = len(begun.plan.grid)
    assert blocks == 8 and counting.most <= 8 * blocks, counting.at_end
    assert counting.most <= begun.plan.file_count <= counting.most + 16, "plan tells what there is"
    fullest = max(sum(1 for _ in folder.iterdir()) for folder in Path(run, "work").rglob("*") if folder.is_dir())
    assert fullest <= max(3 * len(begun.plan.convert_grid), blocks)
    copy = shutil.copytree(run, tmp_path / "copy").as_posix()
    assert mitoscale("clean", copy).code == 0
    assert files_of_blocks(copy) == begun.plan.kept_file_count <= 3 * blocks
