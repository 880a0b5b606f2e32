"""Points and masks are drawn where they are; what is no slice is refused."""

from __future__ import annotations

import numpy as np
import pytest

import mitoscale
from mitoscale.core.errors import InputError


def test_a_point_is_drawn_where_it_is() -> None:
    picture = np.asarray(mitoscale.show_points(np.full((1100, 1200), 90, np.uint8), [(300, 800)]))
    assert picture.shape == (1100, 1200, 3)
    assert picture[300, 800].tolist() == [255, 255, 255] and picture[800, 300].tolist() == [90, 90, 90]


def test_a_mask_is_tinted_and_its_outline_is_the_label_s_colour() -> None:
    mask = np.zeros((1100, 1200), bool)
    mask[200:400, 500:700] = True
    grey = np.full(mask.shape, 90, np.uint8)
    picture = np.asarray(mitoscale.show_mask(grey, mask)).astype(int)
    inside, outside, border = picture[300, 600], picture[50, 50], picture[200, 600]
    assert outside.tolist() == [90, 90, 90] and np.ptp(inside) > 10 and np.ptp(border) > np.ptp(inside)
    labels = np.asarray(mitoscale.show_mask(grey, mask.astype(np.int64)))
    np.testing.assert_array_equal(labels, picture)


def test_other_grey_values_are_stretched_and_thick_slices_become_square() -> None:
    image = np.linspace(0, 4000, 1024 * 512).reshape(512, 1024).astype(np.uint16)
    picture = np.asarray(mitoscale.show_points(image, [], voxel_size=(50.0, 25.0)))
    assert picture.shape == (1024, 1024, 3)
    assert picture[0].mean() < 5 and picture[-1].mean() > 245


@pytest.mark.parametrize(
    ("image", "mask", "points", "said"),
    [
        (np.zeros((2, 9, 9), np.uint8), np.zeros((2, 9, 9), bool), None, "one slice"),
        (np.zeros((9, 9), np.uint8), np.zeros((9, 8), bool), None, "of the same slice"),
        (np.zeros((9, 9), np.uint8), np.zeros((9, 9)), None, "probability > 0.5"),
        (np.zeros((9, 9), np.uint8), np.full((9, 9), -1), None, "no negative labels"),
        (np.zeros((9, 9), np.uint8), np.zeros((9, 9), bool), [(1, 2, 3)], r"give \(N, 2\)"),
    ],
)
def test_wrong_arrays_are_refused(image: np.ndarray, mask: np.ndarray, points: list[object] | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        mitoscale.show_mask(image, mask, points)  # type: ignore[arg-type]
