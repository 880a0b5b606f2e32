"""Wrong answers of foreign models are told in one line that says what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mitoscale.core.errors import BlockError
from mitoscale.core.geometry import Region
from mitoscale.nets.each_slice import EachSlice
from mitoscale.nets.validate import ask_masks, checked_foreground, checked_fragments, checked_slice_masks
from mitoscale.ops.masks import Mask
from mitoscale.ops.prompts import Prompts, prompts_from_profiles

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
def test_wrong_masks_of_a_slice(answer: object, said: str) -> None:
    with pytest.raises(BlockError, match=said):
        checked_slice_masks(answer, 2, (3, 4))


def test_right_answers_of_other_kinds_are_taken() -> None:
    assert checked_foreground(np.ones(SHAPE, bool), SHAPE).dtype == np.float32
    assert checked_fragments(np.ones(SHAPE, np.int64), SHAPE).dtype == np.uint32
    masks, scores = checked_slice_masks((np.ones(SHAPE, np.uint8), np.ones(2)), 2, (3, 4))
    assert masks.dtype == bool and scores.dtype == np.float32


class Answers:
    """A segmenter that always answers the same."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def masks(self, *_: object) -> Any:
        return self.answer


class OneSlice:
    """A model of single slices, such as the protocol was before it took all slices of a region."""

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Prompts, region: Region) -> tuple[np.ndarray, np.ndarray]:
        assert image.shape == foreground.shape == region.shape[1:] and region.shape[0] == 1
        return np.stack([prompts.profiles == i + 1 for i in range(len(prompts))]), np.full(len(prompts), region.start[0])


def mask(**changes: Any) -> Mask:
    return replace(Mask(y0=0, x0=1, mask=np.ones((2, 3), bool), score=0.5, profile=1), **changes)


def asked(segmenter: Any) -> Sequence[Sequence[Mask]]:
    """What it answers for a region whose second slice has one profile."""
    profiles = np.zeros(SHAPE, np.int32)
    profiles[1, :2, 1:] = 1
    image, prompts = profiles.astype(np.uint8), [prompts_from_profiles(plane) for plane in profiles]
    return ask_masks(segmenter, image, image.astype(np.float32), prompts, Region.of_shape(SHAPE).shifted((7, 0, 0)))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "NoneType; a list of Mask for each of 2 slices"),
        ([[]], "1 lists; a list of Mask for each of 2 slices"),
        ((np.zeros((1, 3, 4), bool), np.ones(1)), r"a pair of arrays: it gets all slices .*EachSlice\(model\)"),
        ([[], [np.ones((3, 4), bool)]], "ndarray; mitoscale.ops.masks.Mask is wanted"),
        ([[], [mask(mask=np.ones((2, 3)))]], "no .H, W. array of bool"),
        ([[], [mask(y0=2)]], r"2 x 3 at 2, 1; it leaves the slice of \(3, 4\)"),
        ([[], [mask(x0=-1)]], "it leaves the slice"),
        ([[], [mask(profile=2)]], "profile 2; the slice has prompts 1 to 1"),
        ([[mask()], []], "profile 1; the slice has prompts 1 to 0"),
        ([[], [mask(logits=np.ones((3, 3)))]], r"logits of shape \(3, 3\) to a mask of \(2, 3\)"),
        ([[], [mask(score=np.nan)]], "not finite"),
    ],
)
def test_wrong_masks(answer: object, said: str) -> None:
    with pytest.raises(BlockError, match=said) as caught:
        asked(Answers(answer))
    assert "\n" not in str(caught.value)


def test_a_model_of_single_slices_is_told_and_can_be_wrapped() -> None:
    with pytest.raises(BlockError, match=r"no attribute 'profiles'.*all slices of a region.*EachSlice\(model\)"):
        asked(SliceOfAnySize())
    first, (second,) = asked(EachSlice(OneSlice()))
    assert first == [] and (second.y0, second.x0, second.mask.shape, second.score) == (0, 1, (2, 3), 8.0)


class SliceOfAnySize(OneSlice):
    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Prompts, region: Region) -> Any:
        return prompts.profiles == 1
