"""How blocks travel together, and what they cost client and scheduler."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mitoscale.core.overhead import BUSY, LARGEST, TASK_SECONDS, bundle_size, load_seconds


@given(st.floats(0, 1e5), st.integers(1, 10**5))
def test_the_scheduler_is_busy_half_of_the_time_at_most_unless_bundles_are_as_large_as_may_be(seconds: float, slots: int) -> None:
    size = bundle_size(seconds, slots)
    assert 1 <= size <= LARGEST
    handled = slots / max(size * seconds, 1e-9)  # tasks that end each second
    assert size == LARGEST or handled * TASK_SECONDS <= BUSY + 1e-9
    assert size == 1 or slots / ((size - 1) * max(seconds, 1e-9)) * TASK_SECONDS >= BUSY - 1e-9  # no larger than needed


@given(st.integers(0, 10**7), st.integers(1, LARGEST))
def test_larger_bundles_cost_no_more(blocks: int, bundle: int) -> None:
    assert load_seconds(blocks, LARGEST) <= load_seconds(blocks, bundle) <= load_seconds(blocks, 1)
