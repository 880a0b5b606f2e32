"""Signs of quality without truth, and the verdict on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mitoscale.ops.masks import Mask
from mitoscale.training.adapt_answers import Answer, _judged
from mitoscale.training.adapt_signals import Signals, kept, signals
from mitoscale.training.adapt_verdict import better, doubts, no_ground

SPACING = (10.0, 10.0, 10.0)
GOOD = Signals(foreground=0.08, profiles=20, plausible=0.95, flips=0.9, changed=0.85, sure=0.8, sam=0.85)


def answer(views: np.ndarray, changed: np.ndarray | None = None, outline: float | None = None) -> Answer:
    """An answer whose one profile is what is found."""
    found = (views.mean(axis=0) >= 0.5).astype(np.int32)
    return Answer(
        views=views,
        changed=views.mean(axis=0) if changed is None else changed,
        profiles=found,
        wide=found,
        judged=None,
        outline=outline,
    )


def square(first: int, edge: int, inside: float = 1.0) -> np.ndarray:
    """(64, 64) probability of a square of mitochondrion."""
    plane = np.zeros((64, 64), np.float32)
    plane[first : first + edge, first : first + edge] = inside
    return plane


def test_agreement_is_1_where_all_say_the_same_and_falls_where_they_do_not() -> None:
    same = signals([answer(np.stack([square(8, 20)] * 4), outline=380.0)], SPACING)
    assert (same.flips, same.changed, same.sure, same.plausible, same.profiles) == (1, 1, 1, 1, 1)
    assert same.foreground == pytest.approx(400 / 4096) and same.sam == pytest.approx(0.95)
    apart = signals([answer(np.stack([square(8, 20), square(8, 20), square(8, 20), square(18, 20)]), square(18, 20))], SPACING)
    assert apart.flips == pytest.approx((3 + 3 * 100 / 700) / 6)
    assert apart.sure < same.sure and apart.changed < 0.4 and apart.sam is None and apart.score < same.score


def test_the_parts_of_a_large_mask_are_one_outline() -> None:
    """They overlap, and what both hold counts once."""
    profiles = np.zeros((64, 64), np.int32)
    profiles[10:30, 10:50] = 1
    left, right = (Mask(y0=10, x0=x, mask=np.ones((20, 25), bool), score=0.9, profile=1) for x in (10, 25))
    painted, outline = _judged(profiles, [left, right], 0.3)
    np.testing.assert_array_equal(painted > 0, profiles > 0)
    assert outline == profiles.sum()
    _, outline = _judged(profiles, [left], 0.3)
    assert outline == pytest.approx(25 / 40 * profiles.sum())


def test_uncertainty_is_seen() -> None:
    assert signals([answer(np.stack([square(8, 20, 0.75)] * 4))], SPACING).sure == pytest.approx(0.5)


def test_profiles_of_another_size_than_mitochondria_are_implausible() -> None:
    small = answer(np.stack([square(8, 4)] * 2))  # 45 nm across
    assert signals([small], SPACING).plausible == 0
    assert signals([small], (10.0, 40.0, 40.0)).plausible == 1
    assert signals([answer(np.stack([square(0, 64)] * 2))], (10.0, 80.0, 80.0)).plausible == 0, "5.8 um"


def test_nothing_found_has_signals_too() -> None:
    empty = signals([answer(np.zeros((2, 8, 8), np.float32))], SPACING)
    assert (empty.foreground, empty.profiles, empty.flips) == (0, 0, 0) and "next to nothing" in doubts(empty, 1.0)


def test_what_was_sure_and_is_lost_is_counted() -> None:
    assert kept([square(8, 20)], [square(8, 20)]) == 1
    assert kept([square(8, 20)], [square(18, 20)]) == pytest.approx(100 / 400)
    assert kept([square(8, 20, 0.6)], [square(30, 20)]) == 1, "nothing was sure"


@pytest.mark.parametrize(
    ("changes", "still", "told"),
    [
        ({"foreground": 0.0005}, 1.0, "next to nothing"),
        ({"foreground": 0.7}, 1.0, "70% of the tissue"),
        ({"plausible": 0.5}, 1.0, "as large as mitochondria"),
        ({}, 0.4, "finds 40% again"),
        ({"flips": 0.5}, 1.0, "turned round"),
        ({"changed": 0.3}, 1.0, "other grey values"),
        ({"sure": 0.1}, 1.0, "how sure"),
        ({"sam": 0.4}, 1.0, "SAM"),
    ],
)
def test_each_way_of_being_wrong_is_told(changes: dict[str, float], still: float, told: str) -> None:
    assert doubts(GOOD, 1.0) == "" and doubts(replace(GOOD, sam=None), 1.0) == ""
    assert told in doubts(replace(GOOD, **changes), still)
    learnable = not changes or bool(changes.keys() & {"changed", "sure"})
    assert (no_ground(replace(GOOD, **changes)) == "") == learnable, "what a network may yet learn is no reason not to begin"


def test_better_means_more_than_chance_since_the_beginning_and_no_less_since() -> None:
    more, less = replace(GOOD, flips=0.95), replace(GOOD, flips=0.8)
    assert better(more, GOOD, GOOD)
    assert not better(replace(GOOD, flips=0.91), GOOD, GOOD) and not better(less, GOOD, GOOD)
    assert better(replace(more, changed=0.83), GOOD, more), "a round may lose a little of what was gained"
    assert not better(replace(more, changed=0.81), GOOD, more)
    assert not better(GOOD, GOOD, GOOD), "but never all of it"
