"""The small sister of benchmarks/chaos.py: faults of each kind, the same labels, and each fault found in the log of events."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import Stack

from mitoscale.core.event import Event

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_each_fault_wants_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of the log is only as good as how faults and events are matched."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import chaos_faults as chaos

    faults = [
        chaos.Fault(kind="raise", time=10.0, block="a"),
        chaos.Fault(kind="store", time=20.0, block="a"),
        chaos.Fault(kind="die", time=30.0, block="b"),
        chaos.Fault(kind="kill", time=29.0),
        chaos.Fault(kind="kill", time=31.0),
        chaos.Fault(kind="damage", time=40.0, block="c"),
        chaos.Fault(kind="stop", time=50.0),
        chaos.Fault(kind="client", time=60.0),
    ]
    events = [
        Event(kind="raised", task="a", detail="OSError: [Errno 116] Stale file handle", time=21.0),
        Event(kind="raised", task="a", detail="RuntimeError: a passing error", time=11.0),
        Event(kind="worker lost", detail="died while it held b, d", time=31.0),
        Event(kind="worker lost", detail="died while it held e", time=31.5),
        Event(kind="damaged", task="d", time=41.0),
        Event(kind="started", stage="detect", time=62.0),
    ]
    chaos.match(faults, events)
    told = {(f.kind, f.time): f.used for f in faults}
    assert told["raise", 10.0] is events[1] and told["store", 20.0] is events[0]
    assert told["die", 30.0] is events[2] and told["kill", 29.0] is events[3] and told["client", 60.0] is events[5]
    assert told["kill", 31.0] is None and told["damage", 40.0] is None and told["stop", 50.0] is None
    rows = {row["fault"]: (row["times"], row["told"], row["client_killed_before"]) for row in chaos.table(faults)}
    assert rows["kill"] == (2, 1, 0) and rows["damage"] == (1, 0, 0) and rows["stop"] == (1, 0, 1)


@pytest.mark.slow
def test_a_run_among_faults_ends_with_the_labels_of_one_in_peace(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import chaos

    inside = {"raise": 4, "store": 2, "die": 2, "memory": 1}
    found = chaos.Chaos(stack.image, ["--block", "16,32,32"], tmp_path, seed=3).go(inside, {"kill": 3, "client": 1})
    for name in ("chaos", "chaos_faults"):
        sys.modules.pop(name, None)
    assert found["labels_bit_identical"] and found["objects"] > 3
    assert found["exit_code_with_poison"] == 3 and sum(map(len, found["quarantined"].values())) >= 1
    assert found["objects_away_from_it"] > 0 and found["objects_away_from_it_unchanged"]
    assert found["exit_code_of_retry"] == 0 and not any(found["quarantined_after_retry"].values())
    unheard = sum(row["client_killed_before"] for row in found["table"])
    assert found["faults"] >= 14 and found["told_in_the_log"] >= 11, found["untold"]
    assert found["told_in_the_log"] + unheard >= found["faults"] - 1, found["untold"]
    reports = {path.name for path in (tmp_path / "reports").iterdir()}
    assert "detect.html" in reports
