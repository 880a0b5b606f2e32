"""Masks of neighbouring slices become fragments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mitoscale.ops.link import link

NM = (10.0, 10.0, 10.0)
STACKS = arrays.arrays(np.int32, st.just((5, 5, 6)), elements=st.integers(0, 3))


def stack(depth: int = 12, height: int = 30, width: int = 40) -> np.ndarray:
    return np.zeros((depth, height, width), np.int32)


def count(fragments: np.ndarray) -> int:
    return len(np.unique(fragments[fragments > 0]))


def test_one_tube_is_one_whatever_its_numbers() -> None:
    tube = stack()
    for z in range(12):
        tube[z, 5:15, 5 + z : 15 + z] = 7 * (12 - z)
    fragments = link(tube, NM)
    assert fragments.dtype == np.uint32
    np.testing.assert_array_equal(fragments, (tube > 0).astype(np.uint32))


@pytest.mark.parametrize(("step", "objects"), [(10, 1), (499, 1), (500, 3), (1000, 3)])
def test_single_pictures_are_not_linked(step: float, objects: int) -> None:
    tube = stack(depth=3)
    tube[:, 5:15, 5:15] = 1
    fragments = link(tube, (step, 10.0, 10.0))
    assert count(fragments) == objects and fragments.dtype == np.uint32


def test_slices_may_come_as_a_list_of_any_integers() -> None:
    slices = [np.pad(np.full((4, 4), 2**40 + z, np.uint64), 3) for z in range(3)]
    assert link(slices, NM).max() == 1


def test_touching_parallel_tubes_stay_two() -> None:
    tubes = stack()
    tubes[:, 5:15, 5:15], tubes[:, 5:15, 15:25] = 1, 2
    assert count(link(tubes, NM)) == 2


def test_touching_tubes_that_wander_stay_two() -> None:
    tubes = stack(width=60)
    for z in range(12):
        border = 20 + 3 * (-1) ** z + z
        tubes[z, 5:15, 8 + z : border], tubes[z, 5:15, border : 32 + z] = 1 + z % 2, 2 - z % 2
    fragments = link(tubes, NM)
    assert count(fragments) == 2
    assert (fragments[:, 10].max(axis=1) == 2).all()


def test_touching_tubes_fused_in_one_slice_are_not_fused_as_a_whole() -> None:
    tubes = stack()
    tubes[:, 5:15, 5:15], tubes[:, 5:15, 15:25] = 1, 2
    tubes[6, 5:15, 5:25] = 1
    fragments = link(tubes, NM)
    for z in (0, 5, 7, 11):
        assert fragments[z, 10, 10] != fragments[z, 10, 20]


@pytest.mark.parametrize("flip", [1, -1])
def test_the_arms_of_a_u_are_one(flip: int) -> None:
    u = stack()
    u[:10, 5:15, 2:12], u[:10, 5:15, 25:35] = 1, 2
    u[10:, 5:15, 2:35] = 1
    assert count(link(u[::flip], NM)) == 1


@pytest.mark.parametrize("flip", [1, -1])
def test_a_branching_tube_is_one(flip: int) -> None:
    tree = stack(depth=20, width=80)
    tree[:6, 5:15, 30:46] = 1
    for z in range(6, 20):
        shift = 2 * (z - 6)
        tree[z, 5:15, 28 - shift : 37 - shift] = 1
        tree[z, 5:15, 39 + shift : 48 + shift] = 2
    assert count(link(tree[::flip], NM)) == 1


def test_a_thin_branch_of_a_thick_trunk_is_joined() -> None:
    tree = stack()
    tree[:6, 2:28, 2:28] = 1
    tree[6:, 4:8, 4:8] = 1
    assert count(link(tree, NM)) == 1


def test_a_profile_that_falls_in_two_for_one_slice_is_one() -> None:
    tube = stack()
    tube[:, 5:15, 5:25] = 1
    tube[6, 5:15, 15:25] = 2
    assert count(link(tube, NM)) == 1


@pytest.mark.parametrize(("missing", "objects"), [(1, 1), (2, 1), (3, 2)])
def test_gaps_of_up_to_two_slices_close(missing: int, objects: int) -> None:
    tube = stack()
    tube[:, 5:15, 5:15] = 1
    tube[4 : 4 + missing] = 0
    assert count(link(tube, NM)) == objects
    assert count(link(tube, NM, max_gap=0)) == 2


def test_a_gap_stays_open_where_two_objects_are_touched() -> None:
    tube = stack()
    tube[:5, 5:15, 5:30] = 1
    tube[6:, 5:15, 5:16], tube[6:, 5:15, 19:30] = 1, 2
    assert count(link(tube, NM)) == 3


def test_a_gap_does_not_bridge_another_candidate() -> None:
    """Where the next slice continues a mask, the one after the next is reached through it alone."""
    tubes = stack()
    tubes[:, 5:15, 5:15] = 1
    tubes[7:, 5:15, 15:19] = 2
    assert count(link(tubes, NM)) == 2


@pytest.mark.parametrize("widths", [(2, 5, 8, 9), (9, 9, 9, 9)])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_gap_between_two_objects_that_end_there_stays_open(missing: int, widths: tuple[int, ...]) -> None:
    """One, or both, narrow to their ends; a tube of which slices are missing is as wide as ever."""
    ends = stack()
    for i, (half, other) in enumerate(zip((2, 5, 8, 9), widths, strict=True)):
        ends[5 - i, 15 - half : 15 + half, 20 - half : 20 + half] = 1
        ends[6 + missing + i, 15 - other : 15 + other, 20 - other : 20 + other] = 1
    assert count(link(ends, NM)) == 2


def test_objects_apart_stay_apart() -> None:
    tubes = stack()
    tubes[:6, 5:15, 5:15], tubes[6:, 5:15, 25:35] = 1, 1
    assert count(link(tubes, NM)) == 2


def test_a_thin_object_along_the_slices_goes_on_in_a_mask_of_its_size() -> None:
    tube = stack(depth=2)
    tube[0, 5:15, 5:15], tube[1, 5:15, 12:22] = 1, 1  # IoU 0.18, 0.3 of the smaller
    assert count(link(tube, NM)) == 1
    tube[1, 5:15, 12:22], tube[1, 5:15, 13:23] = 0, 1  # IoU 0.11, 0.2 of the smaller
    assert count(link(tube, NM)) == 2


def test_an_end_that_partly_lies_over_a_large_mask_is_another_object() -> None:
    ends = stack(depth=2)
    ends[0, 8:12, 7:12], ends[1, 2:22, 10:30] = 1, 1  # IoU 0.02, 0.4 of the smaller
    assert count(link(ends, NM)) == 2
    ends[0, 8:12, 7:12], ends[0, 8:12, 9:14] = 0, 1  # 0.8 of the smaller: a tip
    assert count(link(ends, NM)) == 1


@pytest.mark.parametrize("shape", [(0, 4, 4), (1, 4, 4), (3, 4, 4)])
def test_empty_stacks(shape: tuple[int, int, int]) -> None:
    fragments = link(np.zeros(shape, np.int32), NM)
    assert fragments.shape == shape and not fragments.any()


def test_a_single_slice_keeps_its_masks() -> None:
    plane = np.array([[[3, 3, 0], [0, 9, 9]]])
    assert link(plane, NM).tolist() == [[[1, 1, 0], [0, 2, 2]]]


def test_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="Z, Y, X"):
        link(np.zeros((4, 4), np.int32), NM)


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("merged", [1, 2])
def test_neighbours_that_one_or_two_slices_merge_stay_two(gap: int, merged: int) -> None:
    """Touching or not: before and behind the merger both go on apart; and the one it was not given to is one again."""
    tubes = stack(depth=14, width=50)
    tubes[:, 5:17, 5:17], tubes[:, 5:17, 17 + gap : 29 + gap] = 1, 2
    tubes[6 : 6 + merged, 5:17, 5 : 29 + gap] = 1
    fragments = link(tubes, NM)
    assert count(fragments) == 2
    assert len(np.unique(fragments[[0, 13], 10, 10])) == len(np.unique(fragments[[0, 13], 10, 20 + gap])) == 1


def test_the_bridge_of_an_h_joins_its_arms() -> None:
    letter = stack(depth=24, width=50)
    letter[:, 5:15, 5:15], letter[:, 5:15, 25:35] = 1, 2
    letter[8:18, 5:15, 5:35] = 1
    assert count(link(letter, NM)) == 1


def test_a_profile_that_falls_in_two_again_and_again_is_one() -> None:
    tube = stack(depth=20)
    tube[:, 5:17, 5:17] = 1
    for z in (3, 8, 9, 15):
        tube[z, 5:17, 11:17] = 2
    assert count(link(tube, NM)) == 1


def test_an_open_end_does_not_decide() -> None:
    """In the last slices one mask covers two tubes: the bottom of a U, or a mistake; the next block has what follows."""
    tubes = stack()
    tubes[:, 5:15, 5:15], tubes[:, 5:15, 17:27] = 1, 2
    tubes[-1, 5:15, 5:27] = 1
    assert count(link(tubes, NM)) == 1
    fragments = link(tubes, NM, open_ends=(0, 2))
    assert fragments[0, 10, 10] != fragments[0, 10, 20] and count(fragments) == 3
    np.testing.assert_array_equal(count(link(tubes[::-1], NM, open_ends=(2, 0))), 3)


@pytest.mark.parametrize("ratio", [1, 2, 4, 8, 12])
def test_from_isotropic_to_twelve_times_thicker_slices(ratio: int) -> None:
    """Two tubes that lean and touch, a branching one, and one that ends above another: the same objects at any z-step."""
    fine = stack(depth=96, height=64, width=160)
    for z in range(96):
        fine[z, 4:34, 10 + z // 4 : 40 + z // 4], fine[z, 4:34, 40 + z // 4 : 70 + z // 4] = 1, 2
        fine[z, 40:60, 110 - z // 4 : 130 - z // 4] = 3
        fine[z, 40:60, 110 + z // 4 : 130 + z // 4] = 3
    coarse = fine[::ratio]
    fragments = link(coarse, (5.0 * ratio, 5.0, 5.0))
    assert count(fragments) == 3
    pairs = np.unique(np.stack([fragments[coarse > 0], coarse[coarse > 0]]), axis=1)
    assert pairs.shape[1] == 3


@settings(max_examples=80)
@given(STACKS, st.integers(0, 3))
def test_invariants(labels: np.ndarray, max_gap: int) -> None:
    """Masks are never cut or lost; fragments go by their first voxel; the masks' own numbers do not matter."""
    fragments = link(labels, NM, max_gap=max_gap)
    np.testing.assert_array_equal(fragments > 0, labels > 0)
    for plane, own in zip(labels, fragments, strict=True):
        for label in np.unique(plane[plane > 0]):
            assert len(np.unique(own[plane == label])) == 1
    values, first = np.unique(fragments[fragments > 0], return_index=True)
    assert values.tolist() == list(range(1, len(values) + 1)) and (np.diff(first) > 0).all()
    renamed = np.array([0, 9, 4, 6], np.uint16)[labels]
    np.testing.assert_array_equal(link(renamed, NM, max_gap=max_gap), fragments)


@settings(max_examples=60)
@given(STACKS.map(lambda a: a[:2]))
def test_touching_masks_of_a_slice_never_join_unless_one_mask_holds_both(labels: np.ndarray) -> None:
    fragments = link(labels, NM)
    for z in (0, 1):
        plane, other = labels[z], labels[1 - z]
        for y, x in np.argwhere(plane):
            for v, u in ((y, x + 1), (y + 1, x), (y + 1, x + 1), (y + 1, x - 1)):
                if not (v < plane.shape[0] and 0 <= u < plane.shape[1]) or plane[v, u] in (0, plane[y, x]):
                    continue
                holders = [
                    {int(k) for k in np.unique(other[plane == m]) if k and (other[plane == m] == k).mean() >= 0.8}
                    for m in (plane[y, x], plane[v, u])
                ]
                if not holders[0] & holders[1]:
                    assert fragments[z, y, x] != fragments[z, v, u]
