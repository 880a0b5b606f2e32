"""The log of a batch job tells how far a run is, now and then, with its rate and the time that is left."""

from __future__ import annotations

import pytest

from mitoscale.cli.progress_lines import SECONDS, ProgressLines
from mitoscale.pipeline import StageOutcome


def test_a_line_now_and_then_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    lines = ProgressLines(lambda: now)
    lines.stage_started("detect", 1000, {"b0", "b1"})
    for i in range(200):  # 1 s and a million voxels each
        now += 1.0
        lines.task_done("detect", f"b{i + 2}", 1e6)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == int(200 // SECONDS)
    assert told[0] == "detect    32 of 1000 tasks, 1.00 Mvoxel/s, about 0:16:08 left"  # those done earlier took no time now
    lines.stage_finished(StageOutcome(name="detect", tasks=1000, computed=998, quarantined=("b7",), seconds=998.04))
    assert capsys.readouterr().err == "detect    998 of 1000 tasks computed, 1 given up, 998.0 s\n"


def test_nothing_but_the_end_of_a_short_stage(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines()
    lines.stage_started("report", 1, ())
    lines.task_done("report", "report", 0.0)
    lines.stage_finished(StageOutcome(name="report", tasks=0, computed=0, seconds=2.0))
    assert capsys.readouterr().err == "report    done, 2.0 s\n"
