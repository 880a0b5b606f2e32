"""What ``mitoscale status`` tells, from the ledgers alone."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

import pytest
from commands import Call, Finished, Stack, contents

from mitoscale.core.event import Event
from mitoscale.core.result import BlockResult
from mitoscale.core.settings import STAGES
from mitoscale.pipeline import load
from mitoscale.pipeline.status import progress
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger


def lines(out: str) -> dict[str, list[str]]:
    """The table's lines by their first word, up to the first blank line."""
    return {line.split()[0]: line.split() for line in out.split("\n\n")[0].splitlines()}


def test_a_finished_run_is_told_and_left_as_it_was(mitoscale: Call, finished: Finished) -> None:
    before = contents(finished.run)
    ended = mitoscale("status", finished.run, "--watch")
    assert ended.code == 0 and ended.out.splitlines()[0].endswith(": finished")
    table = lines(ended.out)
    assert [table[s][1:4] for s in ("convert", "segment", "stitch")] == [["4", "of", "4"], ["8", "of", "8"], ["12", "of", "12"]]
    assert all(table[stage][-1] == "done" for stage in STAGES)
    assert contents(finished.run) == before
    assert mitoscale("retry", finished.run).out == f"nothing to heal in {finished.run}\n"
    with Path(finished.run, ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        busy = mitoscale("retry", finished.run)
    Path(finished.run, ".lock").unlink()
    assert busy.code == 1 and "another mitoscale is working" in busy.err


def test_an_unfinished_run_has_nothing_to_heal_yet(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert mitoscale("convert", stack.image, run, *stack.exact()).code == 0
    ended = mitoscale("retry", run)
    assert ended.code == 1 and "is not finished; start the same mitoscale run again" in ended.err


def test_json_tells_voxels_bytes_and_seconds(mitoscale: Call, finished: Finished) -> None:
    told = json.loads(mitoscale("status", finished.run, "--json").out)
    assert told["finished"] and not told["working"]
    stages = {stage["name"]: stage for stage in told["stages"]}
    assert stages["segment"]["voxels"] == 32 * 128 * 128
    assert stages["convert"]["bytes_read"] == 34 * 128 * 128  # two rows of blocks, each with a slice of the other
    assert stages["convert"]["bytes_written"] == 32 * 128 * 128  # one level: the volume is small
    assert stages["segment"]["bytes_written"] > 4 * stages["segment"]["voxels"]  # uint32, over core and halo
    assert all(stages["detect"]["seconds"][phase] > 0 for phase in ("read", "compute", "write", "wall"))


def test_a_run_that_stands_half_way(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    run = str(tmp_path / "copy")
    shutil.copytree(finished.run, run)
    folder, token = RunFolder(run), load(run).plan.settings.token("segment")
    path = Path(folder.ledger("segment"))
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:4]))
    ledger = Ledger(str(path))
    ledger.append(
        BlockResult(name="z001_y000_x000"), token=token, state="quarantined", error="Traceback ...\nValueError: beyond me"
    )
    ledger.close()
    EventLog(folder.events).append(Event(kind="worker lost", stage="segment", worker="tcp://10.0.0.1:1", detail="died"))
    table = lines(out := mitoscale("status", run).out)
    assert table["segment"][1:5] == ["4", "of", "8", "1"] and "about" in table["segment"]
    assert "nobody is working on it" in out.splitlines()[0]
    assert "segment z001_y000_x000: ValueError: beyond me" in out and f"mitoscale retry {run}" in out
    assert "worker lost segment tcp://10.0.0.1:1 died" in out
    stages = {s.name: s for s in progress(load(run)).stages}
    segment = stages["segment"]
    assert segment.seconds_left is not None and segment.seconds_left > 0
    times = sorted(e.time for e in Ledger(str(path)).entries(token).values() if e.state == "done")
    assert segment.seconds_left == (8 - 4 - 1) / (3 / (times[-1] - times[0]))
    assert not stages["stitch"].finished, "it was made from blocks that are gone"
    with Path(run, ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "a process is working on it" in mitoscale("status", run).out


@pytest.mark.parametrize("command", ["status", "retry", "plan"])
@pytest.mark.parametrize("name", ["detect", "events"])
def test_a_ledger_that_cannot_be_read_is_one_clear_line(
    command: str, name: str, mitoscale: Call, finished: Finished, tmp_path: Path
) -> None:
    run = tmp_path / "copy"
    shutil.copytree(finished.run, run)
    path = run / "ledger" / f"{name}.jsonl"
    path.unlink(missing_ok=True)
    path.mkdir()
    before = contents(str(run))
    ended = mitoscale(command, str(run))
    if (command, name) == ("retry", "events"):  # nothing to heal, so nothing to note
        assert ended.code == 0
    else:
        assert ended.code == 1 and len(ended.err.splitlines()) == 1, ended.err
        assert f"{name}.jsonl cannot be read" in ended.err
    assert contents(str(run)) == before


def test_no_run_is_one_clear_line(mitoscale: Call, tmp_path: Path) -> None:
    ended = mitoscale("status", str(tmp_path))
    assert ended.code == 1 and "no run.json" in ended.err and len(ended.err.splitlines()) == 1
