"""Pseudo-labels: sure where all agree, unknown where they do not."""

from __future__ import annotations

import numpy as np

from mitoscale.ops.pseudo_labels import UNKNOWN, pseudo_labels


def views(*rows: list[float]) -> np.ndarray:
    """(V, 1, X) views."""
    return np.array(rows, np.float32)[:, None]


def test_a_pixel_on_which_one_view_disagrees_is_unknown() -> None:
    found = pseudo_labels(views([0.9, 0.9, 0.05, 0.05], [0.9, 0.4, 0.05, 0.6]), np.array([[1, 1, 0, 0]]))
    assert found.tolist() == [[1, UNKNOWN, 0, UNKNOWN]]


def test_a_mask_lets_a_profile_out_and_cuts_it() -> None:
    seen = views([0.9, 0.9, 0.3, 0.1], [0.9, 0.9, 0.3, 0.1])
    profiles, judged = np.array([[1, 1, 1, 0]]), np.array([[0, 1, 1, 1]])
    assert pseudo_labels(seen, profiles, judged).tolist() == [[UNKNOWN, 1, 1, UNKNOWN]]


def test_a_profile_without_a_mask_is_unknown_and_never_background() -> None:
    seen = views([0.9, 0.9, 0.0], [0.9, 0.9, 0.0])
    assert pseudo_labels(seen, np.array([[1, 1, 0]]), np.zeros((1, 3), int)).tolist() == [[UNKNOWN, UNKNOWN, 0]]


def test_where_nothing_is_sure_nothing_is_labelled() -> None:
    assert (pseudo_labels(views([0.4] * 5, [0.55] * 5), np.ones((1, 5), int)) == UNKNOWN).all()
