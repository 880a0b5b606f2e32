"""The pace of a run: nothing is lost however much is heard, and little is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.dashboard.pace import LATEST, MOST_STRETCHES, Pace


@given(
    st.lists(st.tuples(st.sampled_from(["detect", "segment"]), st.floats(0.001, 30)), min_size=1, max_size=60), st.integers(1, 30)
)
@settings(max_examples=50)
def test_what_is_heard_is_kept_in_few_stretches(heard: list[tuple[str, float]], times: int) -> None:
    pace, now, stage = Pace(), 0.0, ""
    for name, seconds in heard * times:
        if name != stage:
            pace.begin(stage := name, now)
        now += seconds
        pace.add(100.0, now)
    tasks = len(heard) * times
    assert sum(s.tasks for s in pace.stretches) == tasks
    assert sum(s.voxels for s in pace.stretches) == 100.0 * tasks
    assert all(a.end <= b.begin for a, b in zip(pace.stretches, pace.stretches[1:], strict=False))
    changes = sum(a != b for (a, _), (b, _) in zip(heard * times, (heard * times)[1:], strict=False))
    assert len(pace.stretches) <= MOST_STRETCHES + changes + 1


def test_a_long_stage_is_kept_in_few_stretches() -> None:
    pace = Pace()
    pace.begin("detect", 0.0)
    for second in range(1, 20001):
        pace.add(1e6, float(second))
    assert MOST_STRETCHES / 3 < len(pace.stretches) <= MOST_STRETCHES
    assert pace.stretches[-1].end == 20000.0


def test_the_pace_of_now_is_that_of_the_latest_tasks() -> None:
    pace = Pace()
    pace.begin("detect", 0.0)
    assert pace.tasks_per_second == pace.voxels_per_second == 0.0
    for second in range(1, 101):
        pace.add(1e6, float(second))
    for second in range(LATEST + 1):
        pace.add(1e6, 100.0 + second / 2)
    assert pace.tasks_per_second == pytest.approx(2.0)
    assert pace.voxels_per_second == pytest.approx(2e6)
