"""Masks become instances, labels stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from mitoscale.ops.instances import instances, is_grey_image, is_grey_mask, is_two_valued, profiles


def test_a_mask_becomes_26_connected_components() -> None:
    mask = np.zeros((3, 4, 4), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 255  # touch at a corner: one
    mask[0, 3, 3] = 255
    found = instances(mask)
    assert found.max() == 2
    assert found[0, 0, 0] == found[1, 1, 1] != found[0, 3, 3]


def test_a_flat_mask_becomes_8_connected_components() -> None:
    assert instances(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]], bool)).max() == 2


def test_labels_stay_as_they_are() -> None:
    labels = np.array([[[2, 0, 2, 9]]], np.uint32)
    assert instances(labels) is labels
    assert profiles(labels) is labels


def test_profiles_do_not_know_their_neighbours() -> None:
    arch = np.zeros((2, 1, 5), np.uint8)
    arch[0, 0, [0, 4]] = arch[1] = 1
    assert instances(arch).max() == 1
    assert profiles(arch).tolist() == [[[1, 0, 0, 0, 2]], [[1, 1, 1, 1, 1]]]


@pytest.mark.parametrize("values", [[0], [0, 255], [255], [0, 1]])
def test_two_values(values: list[int]) -> None:
    assert is_two_valued(np.array(values, np.uint8))
    assert is_two_valued(np.array(values, np.uint64))


def test_not_two_values() -> None:
    assert not is_two_valued(np.array([1, 2], np.uint8))
    assert not is_two_valued(np.array([0, 1, 2], np.uint8))
    assert is_two_valued(np.array([], np.uint8))


def test_many_labels_in_8_bits_are_neither_mask_nor_image() -> None:
    labels = np.arange(256, dtype=np.uint8).repeat(64).reshape(1, 128, 128)
    assert not is_grey_mask(labels)
    assert not is_grey_image(labels)


def test_plain_mask_is_not_grey() -> None:
    assert not is_grey_mask(np.array([[[0, 255, 255]]], np.uint8))
    assert not is_grey_mask(np.array([[[0, 100, 255]]], np.uint16))
    assert not is_grey_image(np.zeros((0, 2, 2), np.uint8))


masks = st.one_of(array_shapes(min_dims=2, max_dims=2, max_side=9), array_shapes(min_dims=3, max_dims=3, max_side=6))


@given(mask=masks.flatmap(lambda shape: arrays(bool, shape)))
def test_components_of_any_shape_are_those_of_scipy(mask: np.ndarray) -> None:
    expected, number = ndimage.label(mask, np.ones((3,) * mask.ndim))
    found = instances(mask)
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    assert found.max(initial=0) == number
    assert pairs.shape[1] == len(np.unique(expected))  # one to one, background to background
    assert ((found > 0) == mask).all()
