"""``mitoscale clean``: what only stages need goes, what people need stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from commands import Call, Finished, Stack, contents, labels_of


def test_results_stay(mitoscale: Call, finished: Finished, stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    shutil.copytree(finished.run, run)
    before = contents(run)
    ended = mitoscale("clean", run)
    assert ended.code == 0 and ended.out.startswith("freed")
    after = contents(run)
    assert after == {name: digest for name, digest in before.items() if name.split("/")[0] != "work"}
    assert np.array_equal(labels_of(run), labels_of(finished.run))
    again = mitoscale("run", stack.image, run, *stack.exact())
    assert again.code == 0, again.err  # a finished run has nothing to do, so it needs nothing that went
    assert mitoscale("clean", run).code == 0


def test_redo_after_clean_says_what_is_missing(mitoscale: Call, finished: Finished, stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    shutil.copytree(finished.run, run)
    assert mitoscale("clean", run).code == 0
    before = contents(run)
    ended = mitoscale("run", stack.image, run, *stack.oracle(), "--redo", "segment")
    assert ended.code == 1 and ended.err.splitlines()[-1].startswith("mitoscale: ")
    assert contents(run) == before, "exit code 1 means that nothing was changed"


def test_unfinished_run_is_kept(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert mitoscale("convert", stack.image, run, *stack.exact()).code == 0
    before = contents(run)
    ended = mitoscale("clean", run)
    assert ended.code == 1 and "not finished" in ended.err and len(ended.err.splitlines()) == 1
    assert contents(run) == before
