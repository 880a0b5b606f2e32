"""VOI and ARAND equal scikit-image's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error, variation_of_information

from mitoscale.evaluation.partition_metrics import arand, voi

labels = arrays(np.uint16, (3, 4, 5), elements=st.integers(0, 4))


@given(prediction=labels, truth=labels)
def test_voi_equals_scikit_image(prediction: np.ndarray, truth: np.ndarray) -> None:
    np.testing.assert_allclose(voi(prediction, truth), variation_of_information(truth, prediction), atol=1e-9)


@given(prediction=labels, truth=labels)
def test_arand_equals_scikit_image(prediction: np.ndarray, truth: np.ndarray) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = adapted_rand_error(truth, prediction)[0]
    assert arand(prediction, truth) == pytest.approx(0.0 if np.isnan(expected) else expected, abs=1e-9)


@given(truth=labels)
def test_names_of_labels_do_not_count(truth: np.ndarray) -> None:
    renamed = np.array([0, 70_000, 3, 9, 1], np.uint32)[truth]
    assert voi(renamed, truth) == (0.0, 0.0)
    assert arand(renamed, truth) == 0.0


def test_which_part_is_split_and_which_is_merge() -> None:
    whole, halves = np.ones(8, int), np.repeat([1, 2], 4)
    assert voi(halves, whole) == (1.0, 0.0)
    assert voi(whole, halves) == (0.0, 1.0)


def test_joining_single_voxels_is_an_error() -> None:
    assert arand(np.array([1, 1]), np.array([1, 2])) == 1.0


def test_empty_truth() -> None:
    assert arand(np.array([1, 1, 0]), np.zeros(3, int)) == 0.0
    assert voi(np.zeros((0, 2), int), np.zeros((0, 2), int)) == (0.0, 0.0)


@pytest.mark.parametrize("metric", [voi, arand])
def test_other_shapes_are_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="must be the same"):
        metric(np.zeros((2, 3), int), np.zeros((3, 2), int))  # type: ignore[operator]
