"""Wrong answers of foreign models are told in one line that says what is wanted."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.core.errors import BlockError
from mitoscale.nets.validate import checked_foreground, checked_fragments, checked_masks

SHAPE = (2, 3, 4)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "NoneType; a NumPy array"),
        (np.zeros((2, 3, 5), np.float32), r"shape \(2, 3, 5\); \(2, 3, 4\) is wanted"),
        (np.full(SHAPE, np.nan), "without NaN"),
        (np.full(SHAPE, 255.0), "float64 from 0 to 255; probabilities"),
        (np.full(SHAPE, -0.5), "probabilities"),
        (np.full(SHAPE, 1 + 1j), "an array of complex128"),
    ],
)
def test_wrong_foreground(answer: object, said: str) -> None:
    with pytest.raises(BlockError, match=said) as caught:
        checked_foreground(answer, SHAPE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([1, 2], "list; a NumPy array"),
        (np.zeros(SHAPE[1:], int), "is wanted"),
        (np.full(SHAPE, 0.5), "float64 from 0 to 0.5; whole numbers"),
        (np.full(SHAPE, -1), "int64 from -1 to 0; whole numbers"),
        (np.full(SHAPE, 2**40), "whole numbers"),
    ],
)
def test_wrong_fragments(answer: object, said: str) -> None:
    with pytest.raises(BlockError, match=said):
        checked_fragments(answer, SHAPE)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.zeros((2, 3, 4), bool), "ndarray; a pair"),
        ((np.zeros((1, 3, 4), bool), np.ones(1)), r"shape \(1, 3, 4\)"),
        ((np.zeros((2, 3, 4), bool), np.ones(3)), r"shape \(3,\)"),
        ((np.zeros((2, 3, 4)), np.ones(2)), "compare with a threshold"),
        ((np.zeros((2, 3, 4), bool), np.array([1, np.inf])), "not finite"),
    ],
)
def test_wrong_masks(answer: object, said: str) -> None:
    with pytest.raises(BlockError, match=said):
        checked_masks(answer, 2, (3, 4))


def test_right_answers_of_other_kinds_are_taken() -> None:
    assert checked_foreground(np.ones(SHAPE, bool), SHAPE).dtype == np.float32
    assert checked_fragments(np.ones(SHAPE, np.int64), SHAPE).dtype == np.uint32
    masks, scores = checked_masks((np.ones(SHAPE, np.uint8), np.ones(2)), 2, (3, 4))
    assert masks.dtype == bool and scores.dtype == np.float32
