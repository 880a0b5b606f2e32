"""Objects are matched one to one, and counted as the definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from mitoscale.evaluation.object_metrics import THRESHOLDS, object_scores_2d, object_scores_3d

PERFECT = {"f1_50": 1.0, "f1_75": 1.0, "sa50": 1.0, "sa75": 1.0, "msa": 1.0, "pq": 1.0, "fp50": 0, "fn50": 0}

labels = arrays(np.uint16, (2, 3, 5), elements=st.integers(0, 4))


def row(text: str) -> np.ndarray:
    """One slice of one row: a digit is a label, a dot background."""
    return np.array([[[0 if c == "." else int(c) for c in text]]], np.uint32)


def most_matches(prediction: np.ndarray, truth: np.ndarray, threshold: float) -> int:
    p, t = (np.setdiff1d(np.unique(a), 0) for a in (prediction, truth))
    iou = np.array([[((prediction == a) & (truth == b)).sum() / ((prediction == a) | (truth == b)).sum() for b in t] for a in p])
    iou = iou.reshape(len(p), len(t))
    good = iou >= threshold - 1e-12
    return int(good[linear_sum_assignment(good, maximize=True)].sum())


@given(prediction=labels, truth=labels)
def test_counts_equal_the_best_assignment(prediction: np.ndarray, truth: np.ndarray) -> None:
    # Labels 0..4 make no mask unless few are drawn: a fifth label keeps both what they are.
    prediction[0, 0, 0], truth[0, 0, 0], prediction[0, 0, 1], truth[0, 0, 1] = 5, 5, 6, 6
    scores = object_scores_3d(prediction, truth)
    n = scores["n_pred"] + scores["n_true"]
    accuracies = []
    for threshold in THRESHOLDS:
        tp = most_matches(prediction, truth, threshold)
        accuracies.append(tp / (n - tp))
    assert scores["tp50"] == most_matches(prediction, truth, 0.5)
    assert scores["f1_75"] == pytest.approx(2 * most_matches(prediction, truth, 0.75) / n)
    assert (scores["sa50"], scores["sa75"]) == pytest.approx((accuracies[0], accuracies[5]))
    assert scores["msa"] == pytest.approx(np.mean(accuracies))
    assert scores["fp50"] == scores["n_pred"] - scores["tp50"] >= 0
    assert scores["fn50"] == scores["n_true"] - scores["tp50"] >= 0


@given(truth=labels)
def test_labels_against_themselves_are_perfect(truth: np.ndarray) -> None:
    for score in (object_scores_3d, object_scores_2d):
        scores = score(truth, truth)
        assert {name: scores[name] for name in PERFECT} == PERFECT


def test_an_iou_on_the_threshold_matches() -> None:
    scores = object_scores_3d(row("11111111111......... 2".replace(" ", "")), row("11111111111111111111 2".replace(" ", "")))
    assert scores["n_true"] == 2
    assert scores["msa"] == pytest.approx(((1 + 1) + 8 * (1 / 3)) / 10)  # 11/20 passes 0.5 and 0.55


def test_one_object_that_is_two_halves_matches_once() -> None:
    for prediction, truth in ((row("1111.3"), row("1122.3")), (row("1122.3"), row("1111.3"))):
        scores = object_scores_3d(prediction, truth)
        assert scores["tp50"] == 2
        assert {scores["n_pred"], scores["n_true"]} == {2, 3}
        assert min(scores["fp50"], scores["fn50"]) == 0


def test_panoptic_quality() -> None:
    scores = object_scores_3d(row("1111.22.3"), row("111..22.."))
    assert scores["pq"] == pytest.approx((3 / 4 + 1) / (2 + 0.5))


def test_empty_is_perfect_only_against_empty() -> None:
    empty, one = row("......"), row("11.2..")
    assert {name: object_scores_3d(empty, empty)[name] for name in PERFECT} == PERFECT
    assert object_scores_3d(one, empty)["fp50"] == 2
    assert object_scores_3d(empty, one)["fn50"] == 2
    assert object_scores_3d(empty, one)["f1_50"] == object_scores_3d(one, empty)["pq"] == 0.0
    assert {name: object_scores_2d(empty[:0], empty[:0])[name] for name in PERFECT} == PERFECT


def test_small_truth_is_ignored_with_what_lies_on_it() -> None:
    truth = row("11....222222")
    both, large = row("33....444444"), row("......444444")
    for prediction in (both, large):
        scores = object_scores_3d(prediction, truth, min_truth=3)
        assert (scores["tp50"], scores["fp50"], scores["fn50"]) == (1, 0, 0)
    assert object_scores_3d(large, truth)["fn50"] == 1


def test_invented_objects_are_not_forgiven_for_touching_small_truth() -> None:
    scores = object_scores_3d(row("33333.444444"), row("11....222222"), min_truth=3)
    assert (scores["tp50"], scores["fp50"]) == (1, 1)


def test_as_much_on_small_as_on_large_truth_counts() -> None:
    scores = object_scores_3d(row("5555..."), row("112222."), min_truth=3)
    assert (scores["n_pred"], scores["tp50"], scores["fp50"], scores["fn50"]) == (1, 0, 1, 1)


def test_nothing_is_left_where_all_truth_is_small() -> None:
    scores = object_scores_3d(row("555555..777"), row("111222..333"), min_truth=4)
    assert (scores["n_pred"], scores["n_true"], scores["f1_50"]) == (0, 0, 1.0)


def test_cross_sections_of_labels_and_components_of_masks() -> None:
    arch = np.zeros((2, 1, 6), np.uint8)
    arch[0, 0, [0, 4]] = arch[1, 0, :5] = 1
    assert object_scores_2d(arch, arch)["n_true"] == 3  # a mask: two feet and a bow
    two = arch.copy()
    two[0, 0, 5] = 2
    assert object_scores_2d(two, two)["n_true"] == 3  # labels: both feet are one, and the other object
    assert object_scores_3d(arch, arch)["n_true"] == 1


def test_matches_of_slices_are_pooled() -> None:
    truth = np.concatenate([row("1111.2"), row("3333.2")])
    prediction = np.concatenate([row("1111.2"), row("....44")])
    scores = object_scores_2d(prediction, truth)
    assert (scores["tp50"], scores["fp50"], scores["fn50"]) == (3, 0, 1)


def test_a_mask_is_compared_by_its_components() -> None:
    mask = np.array([[[255, 255, 0, 255]]], np.uint8)
    assert object_scores_3d(row("77.8"), mask)["f1_75"] == 1.0


@pytest.mark.parametrize("score", [object_scores_2d, object_scores_3d])
def test_other_shapes_are_refused(score: object) -> None:
    with pytest.raises(ValueError, match="must be the same"):
        score(row("11"), row("111"))  # type: ignore[operator]
