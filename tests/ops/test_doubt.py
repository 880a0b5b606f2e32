"""Doubt is about places, not about outlines."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.ops.doubt import doubt, most_doubtful


def test_an_outline_is_no_doubt_and_a_grey_place_is() -> None:
    outline = np.full((32, 32), 255, np.uint8)
    outline[:16], outline[16] = 0, 127
    assert doubt(outline) == 0
    unsure = np.zeros((32, 32), np.uint8)
    unsure[8:20, 8:20] = 140
    assert 0.05 < doubt(unsure) < 12 * 12 / 32**2


def test_labels_that_contradict_the_foreground_are_doubt() -> None:
    labels, foreground = np.zeros((32, 32), np.uint32), np.zeros((32, 32), np.uint8)
    labels[8:20, 8:20] = 7
    assert doubt(foreground, labels) == pytest.approx(10 * 10 / 32**2)
    foreground[labels > 0] = 255
    assert doubt(foreground, labels) == 0
    assert doubt(foreground // 2 + 60, labels, 0.9) > 0


def test_neighbours_come_last_and_ties_by_place() -> None:
    places = [(0, 0, x) for x in range(4)]
    assert most_doubtful([0.9, 0.8, 0.1, 0.5], places, 4) == [0, 3, 1, 2]
    assert most_doubtful([0.9, 0.8, 0.1, 0.5], places, 1) == [0]
    assert most_doubtful([0.5, 0.5], [(0, 0, 9), (0, 0, 4)], 2) == [1, 0]
