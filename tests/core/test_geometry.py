"""Regions: boxes of voxels, and the texts that name them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mitoscale.core.errors import EXIT_INPUT, InputError
from mitoscale.core.geometry import Region

TRIPLES = st.tuples(*[st.integers(0, 20)] * 3)
SIZES = st.tuples(*[st.integers(0, 12)] * 3)
SHAPE = (24, 33, 41)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    start, size = draw(TRIPLES), draw(SIZES)
    return Region(start=start, stop=tuple(a + n for a, n in zip(start, size, strict=True)))


def voxels(region: Region) -> np.ndarray:
    """The region as a mask of a volume that holds all that :func:`regions` gives."""
    mask = np.zeros((32, 32, 32), bool)
    mask[region.slices] = True
    return mask


@given(regions())
def test_size_and_slices_count_the_same_voxels(region: Region) -> None:
    assert voxels(region).sum() == region.size == np.prod(region.shape)


@given(regions(), regions())
def test_the_intersection_is_what_both_hold(a: Region, b: Region) -> None:
    common = a.intersection(b)
    both = voxels(a) & voxels(b)
    assert common == b.intersection(a)
    assert (voxels(common) == both).all() if common else not both.any()


@given(regions(), TRIPLES)
def test_growing_stays_within(region: Region, margin: tuple[int, int, int]) -> None:
    outer = Region.of_shape((32, 32, 32))
    grown = region.expanded(margin, within=outer)
    for axis in range(3):
        assert grown.start[axis] == max(0, region.start[axis] - margin[axis])
        assert grown.stop[axis] == min(32, region.stop[axis] + margin[axis])
    local = region.within(grown)
    assert np.zeros(grown.shape)[local].shape == region.shape


@given(regions(), TRIPLES)
def test_moving_there_and_back(region: Region, offset: tuple[int, int, int]) -> None:
    back = tuple(-o for o in offset)
    assert region.shifted(offset).shifted(back) == region  # type: ignore[arg-type]


@given(regions(), st.tuples(*[st.integers(1, 4)] * 3))
def test_a_coarser_region_covers_the_fine_one(region: Region, factor: tuple[int, int, int]) -> None:
    coarse = region.downsampled(factor)
    for axis, f in enumerate(factor):
        assert coarse.start[axis] * f <= region.start[axis] < (coarse.start[axis] + 1) * f
        assert region.stop[axis] <= coarse.stop[axis] * f < region.stop[axis] + f


@given(regions())
def test_a_region_reads_its_own_text(region: Region) -> None:
    if region.size:
        assert Region.parse(str(region), (40, 40, 40)) == region


def test_an_empty_bound_is_the_border() -> None:
    assert Region.parse(":,:,:", SHAPE) == Region.of_shape(SHAPE)
    assert Region.parse("3:,:7,1:2", SHAPE) == Region(start=(3, 0, 1), stop=(24, 7, 2))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not z0:z1,y0:y1,x0:x1"),
        ("0:4", "is not z0:z1,y0:y1,x0:x1"),
        ("0:4,0:4,0:4,0:4", "is not z0:z1,y0:y1,x0:x1"),
        ("0:4,0:4,4", "is not z0:z1,y0:y1,x0:x1"),
        ("0:4,0:4:2,0:4", "is not z0:z1,y0:y1,x0:x1"),
        ("a:4,0:4,0:4", "axis z is not two whole numbers"),
        ("0:4,0:4,0:1.5", "axis x is not two whole numbers"),
        ("4:4,0:4,0:4", "4:4 on axis z is empty"),
        ("5:4,0:4,0:4", "5:4 on axis z is empty"),
        ("-1:4,0:4,0:4", "leaves the volume (0:24)"),
        ("0:4,0:34,0:4", "leaves the volume (0:33)"),
        ("0:4,0:4,41:", "41:41 on axis x is empty"),
    ],
)
def test_a_wrong_text_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Region.parse(text, SHAPE)
    assert problem in str(caught.value) and repr(text) in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.exit_code == EXIT_INPUT


def test_a_region_cannot_stop_before_it_starts_or_be_changed() -> None:
    with pytest.raises(ValidationError, match="stops before it starts"):
        Region(start=(0, 0, 4), stop=(1, 1, 3))
    with pytest.raises(ValidationError, match="frozen"):
        Region.of_shape((1, 1, 1)).start = (0, 0, 0)  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Region(start=(0, 0, 0), stop=(1, 1, 1), step=2)  # type: ignore[call-arg]
