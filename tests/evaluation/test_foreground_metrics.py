"""Foreground scores against scikit-learn's definitions, written out."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.evaluation.foreground_metrics import foreground_scores


def test_known_counts() -> None:
    prediction = np.array([3, 3, 3, 0, 0, 0, 0, 0])  # 2 right, 1 wrong, 1 missed, 4 rightly left out
    truth = np.array([255, 255, 0, 255, 0, 0, 0, 0])
    assert foreground_scores(prediction, truth) == pytest.approx(
        {"iou": 2 / 4, "dice": 4 / 6, "accuracy": 6 / 8, "precision": 2 / 3, "recall": 2 / 3}
    )


def test_nothing_asked_and_nothing_found_is_perfect() -> None:
    assert set(foreground_scores(np.zeros((2, 2)), np.zeros((2, 2))).values()) == {1.0}


def test_nothing_found_of_something() -> None:
    scores = foreground_scores(np.zeros(4), np.array([1, 0, 0, 0]))
    assert (scores["iou"], scores["recall"], scores["accuracy"]) == (0.0, 0.0, 0.75)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be the same"):
        foreground_scores(np.zeros((2, 3)), np.zeros((1, 3)))
