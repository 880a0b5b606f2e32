"""Slices in which SAM is not asked have its answers of the slices around."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.ops.between_slices import asked_slices, kin_of
from mitoscale.ops.fusion import Fused, Fusion, Profiles
from mitoscale.ops.masks import Mask

SHAPE = (9, 64, 96)
WHOLE = Region.of_shape(SHAPE)


def fusion(step: float = 20.0, z: float = 5.0, **segment: object) -> Fusion:
    given = SegmentSettings.model_validate({"min_profile_nm2": 100, "sam_step_nm": step, **segment})
    return Fusion(detect=DetectSettings(), segment=given, spacing=(z, 5.0, 5.0))


def discs(radius: float, *, centre: float = 30.0, drift: float = 0.0) -> np.ndarray:
    """(9, 64, 96) bool: a disc in each slice, whose centre moves along x."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return np.square(y - 30) + np.square(x - centre - drift * z) < radius**2


def foreground(drift: float = 0.0) -> np.ndarray:
    """A profile of radius 10 that is sure, with an unsure rim of 6 pixels."""
    return np.where(discs(10, drift=drift), 0.9, np.where(discs(16, drift=drift), 0.4, 0)).astype(np.float32)


def answers(found: Profiles, shapes: np.ndarray, score: float = 0.9) -> list[list[Mask]]:
    """Of each slice, the same shape for each profile that is asked for in it."""
    return [
        [
            Mask(y0=0, x0=0, mask=shape, logits=np.where(shape, 3.0, -3.0).astype(np.float32), score=score, profile=n + 1)
            for n in range(asked)
        ]
        for shape, asked in zip(shapes, found.questions, strict=True)
    ]


def fused(own: Fusion, values: np.ndarray, shapes: np.ndarray, score: float = 0.9) -> tuple[Profiles, Fused]:
    found = own.profiles(values, ask_in=own.ask_in(WHOLE, WHOLE, 8))
    return found, own.fuse(values, found, answers(found, shapes, score))


def test_a_mask_is_carried_over_to_the_slices_between() -> None:
    found, done = fused(fusion(), foreground(), discs(14))
    assert found.questions == [1, 0, 0, 0, 1, 0, 0, 0, 1] and found.asked == [1] * 9
    for z in range(9):
        wrong = np.count_nonzero((done.labels[z] > 0) != discs(14)[z])
        assert wrong <= 4, (z, wrong)
    assert done.own.all(axis=0)[30, 30] and done.changed[2][30, 43]
    assert [round(float(s[1]), 3) for s in done.scores] == [0.9] * 9


def test_it_follows_a_profile_that_moves() -> None:
    _, done = fused(fusion(), foreground(drift=2.0), discs(14, drift=2.0))
    for z in range(9):
        assert np.count_nonzero((done.labels[z] > 0) != discs(14, drift=2.0)[z]) <= 24, z  # of 613 pixels


def test_a_mask_that_grows_is_interpolated() -> None:
    shapes = np.stack([discs(11 + 0.5 * z)[z] for z in range(9)])
    _, done = fused(fusion(), foreground(), shapes)
    areas = (done.labels > 0).sum(axis=(1, 2))
    assert (np.diff(areas) > 0).all() and abs(int(areas[2]) - int(shapes[2].sum())) < 25


def test_what_sam_does_not_believe_in_is_dropped_between_too() -> None:
    _, done = fused(fusion(), foreground(), discs(14), score=0.1)
    assert not done.labels.any() and done.changed[2].any()
    _, without = fused(fusion(), foreground(), np.zeros(SHAPE, bool), score=0.0)
    assert not without.labels.any()


def test_a_profile_that_no_asked_slice_has_stays_as_it_is() -> None:
    values = foreground()
    values[[0, 1, 3, 4, 5, 6, 7, 8]] = 0
    found, done = fused(fusion(), values, discs(14))
    assert found.asked == [0] * 9 and found.possible == 1 and not any(map(len, found.prompts()))
    np.testing.assert_array_equal(done.labels, found.labels)
    assert done.labels[2].any()


def test_where_one_side_is_sure_the_change_fades() -> None:
    values = foreground()
    values[0] = np.where(discs(10)[0], 0.95, 0)
    found, done = fused(fusion(), values, discs(15))
    assert found.questions[0] == 0 and found.asked[1:4] == [1, 1, 1]
    areas = (done.labels > 0).sum(axis=(1, 2))
    assert (np.diff(areas[:5]) > 0).all()


def test_profiles_with_an_answer_come_first() -> None:
    values = foreground()
    lone = np.square(np.arange(64)[:, None] - 10) + np.square(np.arange(96) - 80) < 49
    values[2] = np.where(lone, 0.55, values[2])  # unsure, and in no other slice; it lies above the other one
    found, done = fused(fusion(), values, discs(14))
    assert found.asked[2] == 1 and found.labels[2].max() == 2
    assert found.labels[2][30, 30] == 1 and found.labels[2][10, 80] == found.wide[2][10, 80] == 2
    np.testing.assert_array_equal(done.labels[2] == 2, lone)


def test_a_step_below_two_slices_and_other_segmenters_ask_in_each_slice() -> None:
    for own in (fusion(step=0), fusion(step=9.9), fusion(z=15.0), fusion(segmenter="lab:factory")):
        assert own.ask_in(WHOLE, WHOLE, 8) is None
    assert fusion().ask_in(WHOLE, WHOLE, 1) is None, "a block would not read the next slice that is asked"
    far = fusion(step=1e300).ask_in(WHOLE, WHOLE, 3)
    assert far is not None and far.tolist() == [True, False, False, True, False, False, True, False, True]


def test_slices_that_a_core_lies_between_are_asked() -> None:
    own, core = fusion(), (slice(5, 7), slice(0, 64), slice(0, 96))
    found = own.profiles(foreground(), core, own.ask_in(WHOLE, WHOLE, 8))
    assert found.questions == [0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert found.asked == [0, 0, 0, 0, 1, 1, 1, 0, 1] and found.possible == 4, "the core's, and those asked around it"
    first = own.profiles(foreground(), (slice(0, 4), *core[1:]), own.ask_in(WHOLE, WHOLE, 8))
    assert first.questions == [1, 0, 0, 0, 1, 0, 0, 0, 0]


def test_a_read_region_without_a_slice_that_is_asked() -> None:
    own, part = fusion(), Region(start=(1, 0, 0), stop=(3, 64, 96))
    found = own.profiles(foreground()[1:3], ask_in=own.ask_in(part, WHOLE, 8))
    assert found.questions == found.asked == [0, 0] and found.labels.any()


@settings(max_examples=50, deadline=None)
@given(start=st.integers(0, 40), depth=st.integers(1, 60), every=st.integers(1, 9), data=st.data())
def test_the_volume_decides_which_slices_are_asked(start: int, depth: int, every: int, data: st.DataObject) -> None:
    volume = Region(start=(start, 0, 0), stop=(start + depth, 8, 8))
    asked = asked_slices(volume, volume, every)
    a, b = sorted(data.draw(st.tuples(st.integers(0, depth), st.integers(0, depth))))
    part = Region(start=(start + a, 0, 0), stop=(start + b, 8, 8))
    assert asked_slices(part, volume, every).tolist() == asked[a:b].tolist()
    assert asked[0] and asked[-1] and max(np.diff(np.flatnonzero(asked)), default=1) <= every


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), every=st.integers(2, 8))
def test_masks_that_are_the_profiles_change_nothing(seed: int, every: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = discs(rng.uniform(6, 16), centre=rng.uniform(10, 80), drift=rng.uniform(-1, 1))
    values = np.where(shapes, 0.6, 0).astype(np.float32)
    own = fusion(step=5.0 * every)
    found, done = fused(own, values, shapes)
    assert found.asked == [1] * 9
    np.testing.assert_array_equal(done.labels, found.labels)
    assert not done.changed.any()


def large(radius: float, size: int) -> np.ndarray:
    """(5, size, size) bool: a large disc with a bay and a hair, the same in each slice."""
    y, x = np.mgrid[:size, :size]
    shape = np.hypot(y - size / 2, x - size / 2) < radius
    shape &= np.hypot(y - size / 2, x - size / 2 - radius) > radius / 3
    shape[size // 2, : size // 2] = True
    return np.repeat(shape[None], 5, axis=0)


@pytest.mark.parametrize("size", [300, 700, 1100])
def test_large_masks_are_carried_over_as_exactly_as_sam_draws_them(size: int) -> None:
    """Distances in large boxes are known at each third or fifth pixel alone: no outline may move for it by more than that."""
    whole, middle, step = Region.of_shape((5, size, size)), size // 2, 2 * (size // 512) + 3
    profile, mask = large(0.3 * size, size), large(0.4 * size, size)
    values = np.where(profile, 0.9, np.where(mask, 0.45, 0)).astype(np.float32)
    own = fusion()
    found = own.profiles(values, ask_in=own.ask_in(whole, whole, 8))
    assert found.asked == [1] * 5
    done = own.fuse(values, found, answers(found, mask)).labels > 0
    wrong = done[2] != mask[2]
    rim = np.hypot(*np.gradient(mask[2].astype(float))) > 0
    assert np.count_nonzero(done[2]) / np.count_nonzero(mask[2]) == pytest.approx(1, abs=0.006)
    assert not (wrong & (ndimage.distance_transform_edt(~rim) > step)).any()
    assert wrong.mean() < 0.01 and done[2, middle, middle]
    same = own.fuse(values, found, answers(found, found.labels > 0))
    np.testing.assert_array_equal(same.labels, found.labels)  # where SAM changes nothing each pixel stays


@pytest.mark.parametrize("gap", [1, 2])
def test_profiles_are_followed_as_far_as_they_overlap(gap: int) -> None:
    labels = np.zeros((5, 8, 8), np.int32)
    labels[:, 2:5, 2:5] = 1
    labels[0, 2:5, 2:5], labels[0, 6:, 6:] = 2, 1
    labels[2 : 2 + gap] = 0
    found = kin_of(labels, np.array([True, False, False, False, True]))
    assert {k.z: k.numbers.tolist() for k in found[1]} == {0: [0, 2], 4: [0, 0]}
    assert all(not k.numbers.any() for k in found[2])
    assert {k.z: k.numbers.tolist() for k in found[3]} == {0: [0, 0] if gap == 1 else [0], 4: [0, 1] if gap == 1 else [0]}


def test_parts_of_a_large_profile_are_one_mask() -> None:
    own = fusion()
    found = own.profiles(foreground(), ask_in=own.ask_in(WHOLE, WHOLE, 8))
    halves = [
        [replace(m, mask=m.mask & side) for m in masks for side in (np.arange(96) < 30, np.arange(96) >= 30)]
        for masks in answers(found, discs(14))
    ]
    done = own.fuse(foreground(), found, halves)
    assert np.count_nonzero((done.labels[2] > 0) != discs(14)[2]) <= 4


def test_a_mask_that_is_not_taken_changes_nothing_between() -> None:
    values = np.where(discs(10), 0.9, np.where(discs(22), 0.35, 0)).astype(np.float32)
    shapes = np.stack([discs(22)[z] if z in (0, 8) else discs(10)[z] for z in range(9)])
    _, done = fused(fusion(), values, shapes)
    np.testing.assert_array_equal(done.labels > 0, discs(10))  # as a whole the foreground speaks against the large ones


def test_profiles_that_are_one_between_do_not_share_a_fate() -> None:
    """Two profiles, of which one is dropped in the slices that are asked, joined by a bridge between."""
    left, right = discs(11, centre=25), discs(10, centre=60)
    bridge = np.zeros(SHAPE, bool)
    bridge[1:4, 27:33, 25:60] = True
    values = np.where(left | right | bridge, 0.6, 0).astype(np.float32)[:5]
    own = fusion()
    found = own.profiles(values, ask_in=own.ask_in(Region.of_shape(values.shape), Region.of_shape(values.shape), 8))
    assert found.questions == [2, 0, 0, 0, 2]
    masks: list[list[Mask]] = []
    for z in range(5):
        here = []
        for number in range(1, found.questions[z] + 1):
            shape = found.labels[z] == number
            here.append(Mask(y0=0, x0=0, mask=shape, score=0.05 if shape[30, 25] else 0.9, profile=number))
        masks.append(here)
    labels = own.fuse(values, found, masks).labels
    assert not labels[0, 30, 25] and labels[:, 30, 60].all()


def test_without_an_answer_a_profile_goes_but_not_at_the_border() -> None:
    values = foreground()
    found = fusion().profiles(values, ask_in=fusion().ask_in(WHOLE, WHOLE, 8))
    assert not fusion().fuse(values, found, [[] for _ in range(9)]).labels.any(), "no answer is no mitochondrion"
    cut = np.concatenate([values[:, 30:], values[:, :1]], axis=1)  # it meets the border, where nothing is dropped
    part = Region.of_shape(cut.shape)
    found = fusion().profiles(cut, ask_in=fusion().ask_in(part, part, 8))
    done = fusion().fuse(cut, found, [[] for _ in range(9)])
    np.testing.assert_array_equal(done.labels, found.labels)


@pytest.mark.parametrize(("aspect", "least"), [(1.0, 0.97), (0.5, 0.93)])
def test_a_mask_far_larger_than_its_profile_is_not_cut(aspect: float, least: float) -> None:
    values = np.where(discs(5), 0.9, np.where(discs(26, centre=40), 0.55, 0)).astype(np.float32)
    values[values == np.float32(0.55)] = 0.45  # below the threshold, and the mask as a whole is likelier than not
    values = np.where(discs(5, centre=40), 0.9, values).astype(np.float32)
    own = Fusion(
        detect=DetectSettings(),
        segment=SegmentSettings(min_profile_nm2=100, sam_step_nm=20, min_mask_mean=0.4),
        spacing=(5.0, 5.0, 5.0 * aspect),
    )
    _, done = fused(own, values, discs(26, centre=40))
    wanted = discs(26, centre=40)
    for z in range(9):
        assert np.count_nonzero((done.labels[z] > 0) & wanted[z]) > least * wanted[z].sum(), z
