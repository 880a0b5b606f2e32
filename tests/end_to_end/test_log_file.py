"""The run's log tells stages and faults once, and a run that has nothing left to do writes nothing into it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import Call, Stack, largest_file

from mitoscale.core.errors import StoppedError
from mitoscale.core.event import Event
from mitoscale.pipeline.log_file import LogFile


def test_the_log_tells_stages_and_faults(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    fails.touch()
    run = tmp_path / "run"
    arguments = ["run", stack.image, str(run), *stack.exact(), "--detector-option", f"fails={fails}"]
    assert mitoscale(*arguments).code == 3
    first = (run / "mitoscale.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \w", line) for line in first)
    assert any("raised detect" in line and "this block is beyond me" in line for line in first)
    assert sum("detect begins, 0 of 8 tasks are done" in line for line in first) == 1
    assert any(re.search(r"detect ends, 4 of 8 tasks computed, 4 given up", line) for line in first)
    fails.unlink()
    assert mitoscale("retry", str(run)).code == 0
    healed = (run / "mitoscale.log").read_text().splitlines()
    assert healed[: len(first)] == first and any("detect ends, 4 of 8 tasks computed," in line for line in healed[len(first) :])
    assert mitoscale(*arguments).code == 0
    assert (run / "mitoscale.log").read_text().splitlines() == healed


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path))
    with (
        largest_file(10),
        pytest.raises(StoppedError, match=r"^cannot write .*mitoscale\.log \(File too large\): free space, then.*$"),
    ):
        log.happened(Event(kind="raised", stage="detect", task="z000_y000_x000"))
