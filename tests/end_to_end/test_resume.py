"""Killed, started again, redone, refused: the labels are the same, and no finished work is done again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Finished, Stack, begin, contents, finish, labels_of

from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder

_ARRAYS = ("work/foreground.zarr", "work/fragments.zarr", "volume.zarr/labels/mitochondria/0")


def names(run: str, stage: str) -> list[str]:
    """Names in a ledger, in order, without a line that a crash cut off."""
    path = Path(RunFolder(run).ledger(stage))
    if not path.exists():
        return []
    whole = path.read_text().split("\n")[:-1]
    return [json.loads(line)["name"] for line in whole if line.startswith("{") and line.endswith("}")]


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> str:
    """A finished run that a test may change."""
    shutil.copytree(finished.run, tmp_path / "copy")
    return str(tmp_path / "copy")


@pytest.mark.slow
def test_killed_while_it_segments_then_started_again(finished: Finished, stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    arguments = ["run", stack.image, run, *stack.exact(), "--segmenter-option", "seconds=0.5"]
    process = begin(*arguments)
    deadline = time.monotonic() + 120
    while not names(run, "segment") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    killed = finish(process)
    before = names(run, "segment")
    assert killed.code == -signal.SIGKILL, killed.err
    assert 1 <= len(before) < 8, "killed too late to show anything"
    earlier = {stage: Path(RunFolder(run).ledger(stage)).read_bytes() for stage in ("convert", "detect")}

    again = finish(begin(*arguments))
    assert again.code == 0, again.err
    after = names(run, "segment")
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == 9  # each of the eight blocks once, and the closing line
    for stage, lines in earlier.items():
        assert Path(RunFolder(run).ledger(stage)).read_bytes() == lines, stage
    assert f"segment   {8 - len(before)} of 8 tasks computed" in again.err
    assert np.array_equal(labels_of(run), labels_of(finished.run))


@pytest.mark.slow
def test_two_workers_give_the_labels_of_one(stack: Stack, mitoscale: Call, tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert mitoscale("run", stack.image, one, *stack.oracle()).code == 0
    ended = finish(begin("run", stack.image, two, *stack.oracle(), "--workers", "2"))
    assert ended.code == 0, ended.err
    assert "dashboard  http://127.0.0.1:" in ended.err and "objects" in ended.out
    for level in (0, 1):
        if Path(RunFolder(one).labels, str(level)).exists():
            assert np.array_equal(labels_of(one, level), labels_of(two, level))


@pytest.mark.slow
def test_one_and_two_workers_and_none_with_the_embedded_networks(stack: Stack, tmp_path: Path) -> None:
    found = []
    for workers in ("1", "2", "none"):
        run = str(tmp_path / workers)
        asked = [] if workers == "none" else ["--workers", workers]
        options = ["--region", "0:2,0:128,0:128", "--block", "2,128,64", "--segmenter", "sam", "--min-volume", "1"]
        ended = finish(begin("run", stack.image, run, *options, *asked))
        assert ended.code == 0, ended.err
        assert ("small job" in ended.err) == ("dashboard" not in ended.err) == (not asked)
        found.append({name: open_array(f"{run}/{name}", missing="fill").read_all() for name in _ARRAYS})
    assert found[0][_ARRAYS[0]].any()
    for name in _ARRAYS:
        assert np.array_equal(found[0][name], found[1][name]) and np.array_equal(found[0][name], found[2][name]), name


def test_started_again_when_done_computes_nothing(mitoscale: Call, stack: Stack, copy: str) -> None:
    before = contents(copy)
    ended = mitoscale("run", stack.image, copy, *stack.exact())
    assert ended.code == 0, ended.err
    assert "segment   0 of 8 tasks computed" in ended.err and "objects" in ended.out
    after = contents(copy)
    assert after.keys() == before.keys()
    assert {n for n in before if before[n] != after[n]} <= {"run.json"}


def test_lost_ledger_lines_are_computed_again(mitoscale: Call, stack: Stack, copy: str, finished: Finished) -> None:
    for stage in ("segment", "stitch", "relabel", "measure", "report"):
        path = Path(RunFolder(copy).ledger(stage))
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[: len(lines) // 2]) + ('\n{"name": "z00' if stage == "segment" else "\n"))
    ended = mitoscale("run", stack.image, copy, *stack.exact())
    assert ended.code == 0, ended.err
    assert "segment   4 of 8 tasks computed" in ended.err
    assert "stitch    6 of 12 tasks computed" in ended.err  # what was done again gave what it had given before
    assert np.array_equal(labels_of(copy), labels_of(finished.run))


def test_redo_with_other_settings_runs_from_there(mitoscale: Call, stack: Stack, copy: str) -> None:
    convert, detect = names(copy, "convert"), names(copy, "detect")
    ended = mitoscale("run", stack.image, copy, *stack.oracle(), "--redo", "segment")
    assert ended.code == 0, ended.err
    assert "convert   0 of 4" in ended.err and "detect    0 of 8" in ended.err
    for stage, tasks in {"segment": 8, "stitch": 12, "relabel": 8, "measure": 8}.items():
        assert f"{stage:9} {tasks} of {tasks} tasks computed" in ended.err
    assert (names(copy, "convert"), names(copy, "detect")) == (convert, detect)
    fresh = mitoscale("run", stack.image, f"{copy}-fresh", *stack.oracle())
    assert fresh.code == 0
    assert np.array_equal(labels_of(copy), labels_of(f"{copy}-fresh"))


def test_redo_of_a_run_that_was_killed_before_it_did_anything(
    mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    content = Path(RunFolder(finished.run).run_json).read_text().replace(finished.run, str(run))
    Path(RunFolder(str(run)).run_json).write_text(content)
    ended = mitoscale("run", stack.image, str(run), *stack.exact(), "--redo", "segment")
    assert ended.code == 0, ended.err
    assert np.array_equal(labels_of(str(run)), labels_of(finished.run))


def test_settings_are_free_until_their_stage_has_begun(mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert mitoscale("convert", stack.image, run, *stack.exact(), "--threshold", "0.9").code == 0
    ended = mitoscale("run", stack.image, run, *stack.exact())
    assert ended.code == 0 and "convert   0 of 4" in ended.err, ended.err
    assert np.array_equal(labels_of(run), labels_of(finished.run))


def test_redo_of_a_late_stage_leaves_the_early_ones(mitoscale: Call, stack: Stack, copy: str) -> None:
    ended = mitoscale("relabel", copy, "--redo", "relabel", "--min-volume", "1e15")
    assert ended.code == 0, ended.err
    assert not labels_of(copy).any()
    assert names(copy, "measure") == []  # what follows from the old labels is forgotten
    assert mitoscale("measure", copy).code == 0
    assert "segment   0 of 8" in mitoscale("run", stack.image, copy, *stack.exact(), "--min-volume", "1e15").err


@pytest.mark.parametrize(
    "changes",
    [
        ["--gate", "5"],
        ["--threshold", "0.7"],
        ["--min-volume", "5"],
        ["--region", "0:16,:,:"],
        ["--block", "16,128,128"],
        ["--invert"],
        ["--voxel-size", "8,8,8"],
        ["--min-volume", "5", "--redo", "measure"],
        ["--threshold", "0.7", "--redo", "segment"],
    ],
    ids=" ".join,
)
def test_other_settings_are_refused(changes: list[str], mitoscale: Call, stack: Stack, finished: Finished) -> None:
    before = contents(finished.run)
    ended = mitoscale("run", stack.image, finished.run, *stack.exact(), *changes)
    assert ended.code == 1
    assert ended.err.startswith("mitoscale: RUN ") and len(ended.err.splitlines()) == 1
    assert "other settings" in ended.err and "--redo" in ended.err
    assert contents(finished.run) == before


def test_stage_command_refuses_other_settings(mitoscale: Call, finished: Finished) -> None:
    before = contents(finished.run)
    ended = mitoscale("segment", finished.run, "--segmenter", "unet")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "--redo segment" in ended.err
    assert contents(finished.run) == before


def test_stage_command_refuses_to_redo_an_earlier_stage(mitoscale: Call, copy: str) -> None:
    before = contents(copy)
    ended = mitoscale("segment", copy, "--redo", "detect", "--threshold", "0.7")
    assert ended.code == 1 and ended.err.splitlines()[-1].startswith("mitoscale: ")
    assert contents(copy) == before, "exit code 1 means that nothing was changed"


def test_a_run_that_another_process_works_on_is_left_alone(mitoscale: Call, stack: Stack, copy: str) -> None:
    with Path(copy, ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = contents(copy)
        ended = mitoscale("run", stack.image, copy, *stack.oracle(), "--redo", "segment")
        assert ended.code == 1 and "another mitoscale" in ended.err.splitlines()[-1]
        assert contents(copy) == before, "run.json of a run that is at work was changed"


def test_moved_run_goes_on_where_it_lies(mitoscale: Call, copy: str, finished: Finished) -> None:
    ended = mitoscale("relabel", copy, "--redo", "relabel")
    assert ended.code == 0, ended.err
    assert RunFolder(copy).labels in mitoscale("measure", copy).out
    assert np.array_equal(labels_of(copy), labels_of(finished.run))


def test_given_up_blocks_end_with_3_and_are_computed_when_they_can_be(
    mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path
) -> None:
    run, fails = str(tmp_path / "run"), tmp_path / "fails"
    fails.touch()
    options = [*stack.exact(), "--detector-option", f"fails={fails}"]
    assert mitoscale("convert", stack.image, run, *options).code == 0
    ended = mitoscale("detect", run)
    assert ended.code == 3
    assert "4 given up" in ended.err and "z000_y000_x000" in ended.err and "again" in ended.err
    assert "beyond me" in Path(RunFolder(run).ledger("detect")).read_text()
    fails.unlink()
    again = mitoscale("run", stack.image, run, *options)
    assert again.code == 0, again.err
    assert "detect    4 of 8 tasks computed" in again.err
    assert np.array_equal(labels_of(run), labels_of(finished.run))


@pytest.mark.parametrize("older", [1, 3])
def test_a_run_of_an_older_version_is_refused_or_done_anew(older: int, copy: str, stack: Stack, mitoscale: Call) -> None:
    path = Path(RunFolder(copy).run_json)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": older}))
    before = contents(copy)
    again = ["run", stack.image, copy, *stack.exact()]
    named = [[name, copy] for name in ("report", "apply", "status", "clean", "retry", "view", "plan")]
    out = str(Path(copy).parent / "out")
    more = [["evaluate", copy, stack.image], ["export", copy, "--to", out], ["suggest", copy, "--out", out], ["edit", copy, "list"]]
    for arguments in (again, ["segment", copy, "--redo", "segment"], *named, *more):
        ended = mitoscale(*arguments)
        assert ended.code == 1 and f"begun by an older mitoscale (format {older}" in ended.err, ended.err
        assert len(ended.err.splitlines()) == 1 and contents(copy) == before
    ended = mitoscale("run", stack.image, copy, *stack.exact(), "--redo", "convert")
    assert ended.code == 0, ended.err
    assert json.loads(path.read_text())["format"] == content["format"]
