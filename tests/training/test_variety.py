"""Grey values of other tissues and microscopes: what changes, and what must not."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.training.paste import paste_objects
from mitoscale.training.variety import change_matrix, expose, grey_curve, like_histogram, like_spectrum


@pytest.fixture
def image() -> np.ndarray:
    """Three slices of smooth grey values with some grain."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 64
    smooth = 0.5 + 0.2 * np.sin(6 * x) * np.cos(5 * y)
    return (smooth + rng.normal(0, 0.04, (3, 64, 64))).clip(0, 1).astype(np.float32)


def test_a_grey_curve_never_swaps_two_grey_values(image: np.ndarray) -> None:
    order = np.argsort(image.ravel())
    changed = [grey_curve(image, np.random.default_rng(seed)).ravel()[order] for seed in range(20)]
    assert all((np.diff(c) >= 0).all() for c in changed)
    assert max(np.abs(c - image.ravel()[order]).max() for c in changed) > 0.1


def test_the_histogram_of_another_picture(image: np.ndarray) -> None:
    other = np.random.default_rng(1).beta(2, 6, (64, 64)).astype(np.float32)
    whole, half, none = (like_histogram(image, other, part) for part in (1.0, 0.5, 0.0))
    assert np.abs(np.quantile(whole, [0.1, 0.5, 0.9]) - np.quantile(other, [0.1, 0.5, 0.9])).max() < 0.05
    np.testing.assert_allclose(none, image, atol=1e-3)
    np.testing.assert_allclose(half, (whole + none) / 2, atol=1e-3)


def test_the_spectrum_of_another_picture(image: np.ndarray) -> None:
    grainy = np.random.default_rng(1).normal(0.5, 0.15, (64, 64)).astype(np.float32)
    changed = like_spectrum(image, grainy, 1.0)

    def grain(picture: np.ndarray) -> float:
        return float(np.diff(picture, axis=-1).std())

    assert grain(image) < 0.07 < 0.15 < grain(changed) and abs(grain(changed) / grain(grainy) - 1) < 0.35
    np.testing.assert_allclose(changed.mean(), image.mean(), atol=0.01)
    np.testing.assert_allclose(like_spectrum(image, grainy, 0.0), image, atol=1e-5)


def test_a_matrix_may_be_lighter_than_its_surroundings_and_the_membrane_stays(image: np.ndarray) -> None:
    inside = np.zeros(image.shape, bool)
    inside[:, 16:48, 16:48] = True
    dark = np.where(inside, image * 0.5, image).astype(np.float32)
    levels = []
    for seed in range(40):
        changed = change_matrix(dark, inside, 5.0, np.random.default_rng(seed))
        assert (changed[~inside] == dark[~inside]).all() and (changed[:, 16, 16:48] == dark[:, 16, 16:48]).all()
        levels.append(float(changed[:, 24:40, 24:40].mean() - dark[~inside].mean()))
    assert min(levels) < -0.1 and max(levels) > 0.02
    nothing = np.zeros_like(inside)
    assert change_matrix(dark, nothing, 5.0, np.random.default_rng(0)) is dark


def test_another_exposure_changes_little_of_the_picture_itself(image: np.ndarray) -> None:
    likeness = [
        np.corrcoef(image.ravel(), expose(image, np.random.default_rng(seed)).clip(0, 1).ravel())[0, 1] for seed in range(30)
    ]
    assert min(likeness) > 0.5 and np.mean(likeness) < 0.98


def test_mitochondria_are_pasted_with_their_labels_into_other_surroundings() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(0.7, 0.02, (48, 48)).astype(np.float32)
    labels = np.zeros((48, 48), np.int32)
    labels[30:40, 5:20], labels[:5] = 3, -1
    other = rng.normal(0.4, 0.02, (48, 48)).astype(np.float32)
    theirs = np.zeros((48, 48), np.int32)
    theirs[10:26, 10:34] = 2
    other[theirs > 0] -= 0.2
    pasted, found = paste_objects(image, labels, other, theirs, 5.0)
    assert set(np.unique(found)) == {-1, 0, 3, 5} and (found[10:26, 10:34] == 5).all() and (found[30:40, 5:20] == 3).all()
    assert abs(pasted[14:22, 14:30].mean() - 0.5) < 0.02, "as much darker than its surroundings as it was"
    assert (pasted[34:, 40:] == image[34:, 40:]).all()
    alone, same = paste_objects(image, labels, other, np.zeros_like(theirs), 5.0)
    assert alone is image and same is labels
