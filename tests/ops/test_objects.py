"""Objects measured in parts are the objects measured whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label, regionprops_table

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.ops.objects import Columns, finish_objects, merge_objects, partial_objects

SPACING = (30.0, 5.0, 4.0)


def blobs(shape: Triple, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random(shape)
    return label(noise > 0.6, connectivity=1).astype(np.uint32)


def measure_in_blocks(
    labels: np.ndarray, core_shape: Triple, image: np.ndarray | None = None, origin: Triple = (0, 0, 0)
) -> list[Columns]:
    region = Region.of_shape(labels.shape).shifted(origin)
    grid = BlockGrid(region=region, core_shape=core_shape, margin=(0, 0, 0))
    parts = []
    for block in grid.blocks():
        read = block.core.expanded((1, 1, 1), within=region)
        grey = None if image is None else image[block.core.within(region)]
        parts.append(partial_objects(labels[read.within(region)], grey, grey, core=block.core, read=read, volume=region))
    return parts


def measure_whole(labels: np.ndarray, image: np.ndarray | None = None, origin: Triple = (0, 0, 0)) -> Columns:
    region = Region.of_shape(labels.shape).shifted(origin)
    return partial_objects(labels, image, image, core=region, read=region, volume=region)


def assert_same(a: Columns, b: Columns) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


small = st.integers(1, 6)


@settings(deadline=None, max_examples=60)
@given(
    labels=st.tuples(small, small, small).flatmap(lambda s: arrays(np.uint32, s, elements=st.integers(0, 3))),
    core=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    origin=st.sampled_from([(0, 0, 0), (3, 50, 7), (10**6, 10**6, 10**6)]),
    order=st.randoms(use_true_random=False),
)
def test_parts_add_up_to_the_whole(labels: np.ndarray, core: Triple, origin: Triple, order: object) -> None:
    image = (np.arange(labels.size).reshape(labels.shape) * 37 % 251).astype(np.uint8)
    parts = measure_in_blocks(labels, core, image, origin)
    order.shuffle(parts)  # type: ignore[attr-defined]
    whole = measure_whole(labels, image, origin)
    half = len(parts) // 2
    assert_same(merge_objects(parts), merge_objects([whole]))
    assert_same(merge_objects([merge_objects(parts[:half]), merge_objects(parts[half:])]), merge_objects([whole]))


def test_sums_stay_exact_far_from_the_origin() -> None:
    labels = np.ones((4, 4, 4), np.uint8)
    near, far = (measure_whole(labels, origin=(o, o, o)) for o in (0, 2**40))
    for name in ("zz", "yy", "xx", "zy", "zx", "yx"):
        np.testing.assert_array_equal(near[name], far[name])
    assert far["z0"][0] == 2**40


def test_agrees_with_scikit_image() -> None:
    labels = blobs((9, 20, 21))
    image = np.random.default_rng(1).integers(0, 65535, labels.shape).astype(np.uint16)
    names = ("label", "area", "centroid", "bbox", "intensity_mean")
    expected = regionprops_table(labels, image, properties=names)
    region = Region.of_shape(labels.shape)
    table = finish_objects(merge_objects(measure_in_blocks(labels, (4, 8, 8), image)), SPACING, region)
    np.testing.assert_array_equal(table["label"], expected["label"])
    np.testing.assert_array_equal(table["voxels"], expected["area"])
    np.testing.assert_allclose(table["volume_nm3"], expected["area"] * 600.0)
    np.testing.assert_allclose(table["mean_intensity"], expected["intensity_mean"])
    for i, a in enumerate("zyx"):
        np.testing.assert_allclose(table[f"centroid_{a}"], expected[f"centroid-{i}"])
        np.testing.assert_allclose(table[f"centroid_{a}_nm"], expected[f"centroid-{i}"] * SPACING[i])
        np.testing.assert_array_equal(table[f"bbox_{a}0"], expected[f"bbox-{i}"])
        np.testing.assert_array_equal(table[f"bbox_{a}1"], expected[f"bbox-{i + 3}"])


def test_axes_agree_with_scikit_image() -> None:
    z, y, x = np.mgrid[:40, :40, :60]
    labels = (((z - 20) / 8) ** 2 + ((y - 20) / 12) ** 2 + ((x - 30 - 0.5 * (y - 20)) / 20) ** 2 <= 1).astype(np.uint8)
    expected = regionprops_table(labels, properties=("axis_major_length", "axis_minor_length"))
    table = finish_objects(measure_whole(labels), (1.0, 1.0, 1.0), Region.of_shape(labels.shape))
    # scikit-image counts voxels as points; here each adds its own 1/12, which is 20/12 in the squared axis.
    for name, other in (("axis_major_nm", "axis_major_length"), ("axis_minor_nm", "axis_minor_length")):
        np.testing.assert_allclose(table[name] ** 2 - 20 / 12, expected[other] ** 2, rtol=1e-9)


def test_axes_of_an_ellipsoid_in_nm() -> None:
    spacing = (40.0, 5.0, 5.0)
    z, y, x = np.mgrid[:21, :121, :121]
    inside = ((z - 10) * 40 / 320) ** 2 + ((y - 60) * 5 / 200) ** 2 + ((x - 60) * 5 / 250) ** 2 <= 1
    table = finish_objects(measure_whole(inside.astype(np.uint8)), spacing, Region.of_shape(inside.shape))
    axes = [table[f"axis_{name}_nm"][0] for name in ("major", "middle", "minor")]
    np.testing.assert_allclose(axes, [640, 500, 400], rtol=0.02)


def test_surface_of_a_box_and_of_touching_boxes() -> None:
    labels = np.zeros((6, 8, 10), np.uint32)
    labels[1:4, 2:6, 3:8] = 5
    labels[4:6, 2:6, 3:8] = 6  # touches 5 and the volume's border: both count as surface
    region = Region.of_shape(labels.shape)
    table = finish_objects(merge_objects(measure_in_blocks(labels, (2, 3, 4))), SPACING, region)
    z, y, x = SPACING

    def box(a: int, b: int, c: int) -> float:
        return 2 * (a * b * z * y + a * c * z * x + b * c * y * x)

    np.testing.assert_allclose(table["surface_nm2"], [box(3, 4, 5), box(2, 4, 5)])
    assert table["touches_border"].tolist() == [False, True]
    assert table["n_slices"].tolist() == [3, 2]


def test_labels_beyond_32_bits_and_in_any_order() -> None:
    labels = np.zeros((2, 3, 3), np.uint64)
    labels[0, 0, 0], labels[1, 2, 2] = 2**63 + 5, 9
    merged = merge_objects(measure_in_blocks(labels, (1, 2, 2)))
    assert merged["label"].tolist() == [9, 2**63 + 5]
    assert merged["label"].dtype == np.uint64


def test_nothing_to_measure() -> None:
    empty = np.zeros((2, 3, 3), np.uint32)
    region = Region.of_shape(empty.shape)
    table = finish_objects(merge_objects(measure_in_blocks(empty, (1, 2, 2))), SPACING, region)
    assert {len(column) for column in table.values()} == {0}
    assert len(merge_objects([])["label"]) == 0
    assert table.keys() == finish_objects(merge_objects([]), SPACING, region).keys()


def test_without_grey_values_means_are_nan_and_the_rest_is_there() -> None:
    labels = np.ones((2, 2, 2), np.uint8)
    table = finish_objects(merge_objects([measure_whole(labels)]), SPACING, Region.of_shape((2, 2, 2)))
    assert np.isnan(table["mean_intensity"]).all() and np.isnan(table["mean_foreground"]).all()
    assert table["voxels"].tolist() == [8]


def test_mean_foreground_is_a_probability() -> None:
    labels = np.ones((1, 2, 2), np.uint8)
    table = finish_objects(measure_whole(labels, np.full((1, 2, 2), 255, np.uint8)), SPACING, Region.of_shape((1, 2, 2)))
    assert table["mean_foreground"].tolist() == [1.0]


def test_a_missing_margin_is_refused() -> None:
    volume, core = Region.of_shape((4, 4, 4)), Region.of_shape((2, 4, 4))
    with pytest.raises(ValueError, match="lack the voxel around the core"):
        partial_objects(np.zeros((2, 4, 4), np.uint8), core=core, read=core, volume=volume)


def test_arrays_that_do_not_fit_their_region_are_refused() -> None:
    region = Region.of_shape((2, 4, 4))
    labels = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="labels have shape"):
        partial_objects(labels[:1], core=region, read=region, volume=region)
    with pytest.raises(ValueError, match="image has shape"):
        partial_objects(labels, labels[:1], core=region, read=region, volume=region)
    with pytest.raises(ValueError, match="leave the volume"):
        partial_objects(labels, core=Region.of_shape((1, 4, 4)), read=region, volume=Region.of_shape((1, 4, 4)))


def test_surface_of_a_ball_is_as_documented() -> None:
    z, y, x = np.mgrid[-30:31, -60:61, -60:61]
    ball = ((z * 10.0) ** 2 + (y * 5.0) ** 2 + (x * 5.0) ** 2 <= 250.0**2).astype(np.uint8)
    table = finish_objects(measure_whole(ball), (10.0, 5.0, 5.0), Region.of_shape(ball.shape))
    np.testing.assert_allclose(table["surface_nm2"] / (4 * np.pi * 250.0**2), 1.5, rtol=0.02)
