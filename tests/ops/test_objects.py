"""Objects measured in parts are the objects measured whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import cKDTree
from skimage.measure import label, regionprops_table

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.ops.boundaries import boundaries, merge_boundaries
from mitoscale.ops.object_table import capsule_length, finish_objects
from mitoscale.ops.objects import Columns, merge_objects, partial_objects

SPACING = (30.0, 5.0, 4.0)


def blobs(shape: Triple, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random(shape)
    return label(noise > 0.6, connectivity=1).astype(np.uint32)


Parts = list[tuple[Columns, Columns]]
"""Sums and boundaries of each block."""


def measure_in_blocks(labels: np.ndarray, core_shape: Triple, image: np.ndarray | None = None, origin: Triple = (0, 0, 0)) -> Parts:
    region = Region.of_shape(labels.shape).shifted(origin)
    grid = BlockGrid(region=region, core_shape=core_shape, margin=(0, 0, 0))
    parts = []
    for block in grid.blocks():
        read = block.core.expanded((1, 1, 1), within=region)
        grey = None if image is None else image[block.core.within(region)]
        core = labels[block.core.within(region)]
        sums = partial_objects(core, grey, grey, None if grey is None else claims(core, grey), core=block.core)
        parts.append((sums, boundaries(labels[read.within(region)], core=block.core, read=read)))
    return parts


def claims(labels: np.ndarray, image: np.ndarray) -> Columns:
    """Fragments as if the segmenter had claimed the even voxels, the brighter the surer; background among them."""
    found = np.unique(labels)
    own = [(labels == label) & (image % 2 == 0) for label in found]
    scores = [float((image[o] / 1024).sum()) for o in own]
    return {
        "label": found,
        "own_voxels": np.array([int(o.sum()) for o in own]),
        "changed_voxels": np.array([int((o & (image % 4 == 0)).sum()) for o in own]),
        "score_sum": np.array(scores),
    }


def measure_whole(labels: np.ndarray, image: np.ndarray | None = None, origin: Triple = (0, 0, 0)) -> Parts:
    return measure_in_blocks(labels, labels.shape, image, origin)


def merged(parts: Parts) -> Columns:
    """Sums and boundaries side by side."""
    sums, met = merge_objects([p[0] for p in parts]), merge_boundaries([p[1] for p in parts])
    return sums | {f"boundaries_{name}": column for name, column in met.items()}


def table_of(parts: Parts, spacing: tuple[float, float, float], shape: Triple) -> Columns:
    sums, met = merge_objects([p[0] for p in parts]), merge_boundaries([p[1] for p in parts])
    return finish_objects(sums, met, spacing, Region.of_shape(shape))


def assert_same(a: Columns, b: Columns) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


small = st.integers(1, 6)


@settings(max_examples=60)
@given(
    labels=st.tuples(small, small, small).flatmap(lambda s: arrays(np.uint32, s, elements=st.integers(0, 3))),
    core=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    origin=st.sampled_from([(0, 0, 0), (3, 50, 7), (10**6, 10**6, 10**6)]),
    order=st.randoms(use_true_random=False),
)
def test_parts_add_up_to_the_whole(labels: np.ndarray, core: Triple, origin: Triple, order: object) -> None:
    image = (np.arange(labels.size).reshape(labels.shape) * 37 % 251).astype(np.uint8)
    parts = measure_in_blocks(labels, core, image, origin)
    whole = merged(measure_whole(labels, image, origin))
    order.shuffle(parts)  # type: ignore[attr-defined]
    half = len(parts) // 2
    assert_same(merged(parts), whole)
    first, second = ((merge_objects([p[0] for p in h]), merge_boundaries([p[1] for p in h])) for h in (parts[:half], parts[half:]))
    assert_same(merged([first, second]), whole)


def test_sums_stay_exact_far_from_the_origin() -> None:
    labels = np.ones((4, 4, 4), np.uint8)
    near, far = (measure_whole(labels, origin=(o, o, o))[0][0] for o in (0, 2**40))
    for name in ("zz", "yy", "xx", "zy", "zx", "yx"):
        np.testing.assert_array_equal(near[name], far[name])
    assert far["z0"][0] == 2**40


@pytest.mark.parametrize("core", [(4, 8, 8), (9, 20, 21)])
def test_agrees_with_scikit_image(core: Triple) -> None:
    labels = blobs((9, 20, 21))
    image = np.random.default_rng(1).integers(0, 65535, labels.shape).astype(np.uint16)
    names = ("label", "area", "centroid", "bbox", "intensity_mean")
    expected = regionprops_table(labels, image, properties=names)
    table = table_of(measure_in_blocks(labels, core, image), SPACING, labels.shape)
    np.testing.assert_array_equal(table["label"], expected["label"])
    np.testing.assert_array_equal(table["voxels"], expected["area"])
    np.testing.assert_allclose(table["volume_nm3"], expected["area"] * 600.0)
    np.testing.assert_allclose(table["mean_intensity"], expected["intensity_mean"])
    np.testing.assert_array_equal(table["n_slices"], expected["bbox-3"] - expected["bbox-0"])
    for i, a in enumerate("zyx"):
        np.testing.assert_allclose(table[f"centroid_{a}"], expected[f"centroid-{i}"])
        np.testing.assert_allclose(table[f"centroid_{a}_nm"], expected[f"centroid-{i}"] * SPACING[i])
        np.testing.assert_array_equal(table[f"bbox_{a}0"], expected[f"bbox-{i}"])
        np.testing.assert_array_equal(table[f"bbox_{a}1"], expected[f"bbox-{i + 3}"])
        np.testing.assert_allclose(table[f"bbox_{a}0_nm"], (expected[f"bbox-{i}"] - 0.5) * SPACING[i])
        np.testing.assert_allclose(table[f"bbox_{a}1_nm"], (expected[f"bbox-{i + 3}"] - 0.5) * SPACING[i])


def ellipsoid(shape: Triple, spacing: tuple[float, float, float], axes: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(Z, Y, X) bool: an ellipsoid in the middle; semi-axes in nm along the columns of ``vectors``."""
    grid = np.stack(np.meshgrid(*((np.arange(n) - n // 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"), -1)
    return (((grid @ vectors) / axes) ** 2).sum(axis=-1) <= 1


TURNED = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
"""Three directions at right angles, none along the lattice."""


def test_axes_agree_with_scikit_image() -> None:
    labels = ellipsoid((49, 61, 61), (1.0, 1.0, 1.0), np.array([8.0, 14.0, 22.0]), TURNED).astype(np.uint8)
    expected = regionprops_table(labels, properties=("axis_major_length", "axis_minor_length"))
    table = table_of(measure_in_blocks(labels, (16, 16, 16)), (1.0, 1.0, 1.0), labels.shape)
    # scikit-image counts voxels as points; here each adds its own 1/12, which is 20/12 in the squared axis.
    for name, other in (("axis_major_nm", "axis_major_length"), ("axis_minor_nm", "axis_minor_length")):
        np.testing.assert_allclose(table[name] ** 2 - 20 / 12, expected[other] ** 2, rtol=1e-9)


@pytest.mark.parametrize("spacing", [(5.0, 5.0, 5.0), (20.0, 5.0, 5.0)])
def test_an_ellipsoid_in_nm(spacing: tuple[float, float, float]) -> None:
    axes = np.array([100.0, 150.0, 220.0])
    shape = (2 * int(230 / spacing[0]) + 3, 95, 95)
    solid = ellipsoid(shape, spacing, axes, TURNED).astype(np.uint8)
    table = table_of(measure_in_blocks(solid, (16, 40, 40)), spacing, shape)
    p = 1.6075  # Thomsen's formula for the surface, right to 1.1 %
    a, b, c = axes**p
    surface = 4 * np.pi * ((a * b + a * c + b * c) / 3) ** (1 / p)
    np.testing.assert_allclose(table["surface_nm2"][0], surface, rtol=0.03)
    ball = np.cbrt(axes.prod())
    np.testing.assert_allclose(table["sphericity"][0], 4 * np.pi * ball**2 / surface, rtol=0.03)
    for i, name in enumerate(("minor", "middle", "major")):
        np.testing.assert_allclose(table[f"axis_{name}_nm"][0], 2 * axes[i], rtol=0.02)
        vector = np.array([table[f"axis_{name}_{a}"][0] for a in "zyx"])
        np.testing.assert_allclose(abs(vector @ TURNED[:, i]), 1, atol=1e-3)
        assert vector[np.abs(vector).argmax()] > 0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (10.0, 5.0, 5.0), (40.0, 5.0, 5.0), (60.0, 5.0, 5.0)])
def test_surface_of_balls(spacing: tuple[float, float, float]) -> None:
    radius = 300.0 if spacing[0] > 1 else 20.0
    shape = tuple(2 * int(radius / s) + 3 for s in spacing)
    ball = ellipsoid(shape, spacing, np.full(3, radius), np.eye(3)).astype(np.uint8)
    table = table_of(measure_in_blocks(ball, (8, 50, 50)), spacing, shape)
    np.testing.assert_allclose(table["surface_nm2"], 4 * np.pi * radius**2, rtol=0.03)
    np.testing.assert_allclose(table["sphericity"], 1, rtol=0.04)


def test_surface_of_a_box_is_as_documented() -> None:
    labels = np.zeros((40, 60, 80), np.uint8)
    labels[10:30, 10:50, 10:70] = 1
    table = table_of(measure_in_blocks(labels, (16, 16, 16)), (1.0, 1.0, 1.0), labels.shape)
    assert 0.82 < table["surface_nm2"][0] / (2 * (20 * 40 + 20 * 60 + 40 * 60)) < 0.92


def tube(path: np.ndarray, radius: float, shape: Triple) -> np.ndarray:
    """(Z, Y, X) uint8: all within ``radius`` of a path (N, 3)."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    distance, _ = cKDTree(path).query(grid, distance_upper_bound=radius)
    return (distance.reshape(shape) < radius).astype(np.uint8)


def test_length_follows_a_bent_tube() -> None:
    """Three quarters of a circle: its axes tell how far it reaches, its length how far it is from one end to the other."""
    angle = np.linspace(0, 1.5 * np.pi, 600)
    path = np.stack([np.full(600, 12.0), 55 + 40 * np.sin(angle), 60 + 40 * np.cos(angle)], axis=1)
    table = table_of(measure_in_blocks(tube(path, 7, (25, 110, 120)), (16, 32, 32)), (4.0, 4.0, 4.0), (25, 110, 120))
    np.testing.assert_allclose(table["length_nm"], 4 * (1.5 * np.pi * 40 + 14), rtol=0.05)
    assert table["axis_major_nm"][0] < 0.75 * table["length_nm"][0]


@given(st.floats(1e-3, 1e4), st.floats(0, 100))
def test_capsule_length_is_exact_for_capsules(radius: float, slenderness: float) -> None:
    height = slenderness * radius
    volume = np.pi * radius**2 * height + 4 / 3 * np.pi * radius**3
    surface = 2 * np.pi * radius * height + 4 * np.pi * radius**2
    length = capsule_length(np.array([volume]), np.array([surface]))
    np.testing.assert_allclose(length, height + 2 * radius, rtol=1e-5)
    ball = capsule_length(np.array([volume]), np.array([0.0]))  # less surface than any body has
    np.testing.assert_allclose(ball, 2 * np.cbrt(volume * 3 / (4 * np.pi)), rtol=1e-5)


def test_objects_that_touch() -> None:
    labels = np.zeros((40, 40, 60), np.uint32)
    labels[5:35, 5:35, 5:30], labels[5:35, 5:35, 30:55] = 5, 9  # side by side over 30 x 30
    labels[35, 35, 55] = 2  # at 9's corner
    labels[0, 0, 0] = 3  # alone, at the border
    parts = measure_in_blocks(labels, (16, 16, 16))
    table = table_of(parts, (1.0, 1.0, 1.0), labels.shape)
    assert table["label"].tolist() == [2, 3, 5, 9]
    assert table["contacts"].tolist() == [1, 0, 1, 2]
    assert table["touches_border"].tolist() == [False, True, False, False]
    by_label = dict(zip(table["label"].tolist(), table["contact_nm2"].tolist(), strict=True))
    assert by_label[9] == pytest.approx(by_label[5] + by_label[2])  # both sides of a contact have the same area
    assert 0.75 < by_label[5] / 900 < 1.0
    alone = table_of(measure_whole((labels == 5).astype(np.uint8)), (1.0, 1.0, 1.0), labels.shape)
    assert table["surface_nm2"][2] == pytest.approx(alone["surface_nm2"][0], rel=0.02)  # a contact is surface


@pytest.mark.parametrize(("height", "width"), [(7, 8), (10, 10), (30, 30)])
def test_area_of_a_small_flat_wall_is_as_documented(height: int, width: int) -> None:
    labels = np.zeros((40, 40, 40), np.uint32)
    labels[5 : 5 + height, 5 : 5 + width, 5:20], labels[5 : 5 + height, 5 : 5 + width, 20:35] = 1, 2
    table = table_of(measure_in_blocks(labels, (16, 16, 16)), (1.0, 1.0, 1.0), labels.shape)
    assert 0.78 < table["contact_nm2"][0] / (height * width) < 1.0


def test_labels_beyond_32_bits_and_in_any_order() -> None:
    labels = np.zeros((2, 3, 3), np.uint64)
    labels[0, 0, 0], labels[1, 1, 1] = 2**63 + 5, 9
    found = merged(measure_in_blocks(labels, (1, 2, 2)))
    assert found["label"].tolist() == [9, 2**63 + 5]
    assert found["boundaries_other"].tolist() == [0, 2**63 + 5, 0, 9]
    assert found["label"].dtype == found["boundaries_label"].dtype == np.uint64


def test_nothing_to_measure() -> None:
    empty = np.zeros((2, 3, 3), np.uint32)
    table = table_of(measure_in_blocks(empty, (1, 2, 2)), SPACING, (2, 3, 3))
    assert {len(column) for column in table.values()} == {0}
    assert len(merge_objects([])["label"]) == 0
    assert table.keys() == table_of([], SPACING, (2, 3, 3)).keys()


def test_without_grey_values_means_are_nan_and_the_rest_is_there() -> None:
    table = table_of(measure_whole(np.ones((2, 2, 2), np.uint8)), SPACING, (2, 2, 2))
    for name in ("mean_intensity", "mean_foreground", "segmenter_score"):
        assert np.isnan(table[name]).all(), name
    assert table["voxels"].tolist() == [8]


def test_foreground_and_claims_are_parts_of_the_object() -> None:
    labels = np.array([[[1, 1, 1, 1, 2]]], np.uint8)
    foreground = np.array([[[255, 255, 128, 127, 0]]], np.uint8)
    fragments = {"label": np.array([1, 1, 0, 7]), "own_voxels": np.array([2, 1, 9, 9]), "score_sum": np.array([1.5, 0.25, 9, 9])}
    fragments["changed_voxels"] = np.array([1, 0, 9, 9])
    region = Region.of_shape((1, 1, 5))
    sums = partial_objects(labels, None, foreground, fragments, core=region)
    table = table_of([(sums, boundaries(labels, core=region, read=region))], SPACING, region.shape)
    assert table["mean_foreground"].tolist() == [765 / 4 / 255, 0.0]
    assert table["detector_agreement"].tolist() == [0.75, 0.0]
    assert table["segmenter_changed"].tolist() == [0.25, 0.0]
    assert table["segmenter_score"][0] == 1.75 / 3 and np.isnan(table["segmenter_score"][1])
    sums = partial_objects(labels, None, foreground, core=region, threshold=0.9)
    assert sums["agreed"].tolist() == [2, 0]


def test_arrays_that_do_not_fit_the_core_are_refused() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="labels has shape"):
        partial_objects(labels[:1], core=Region.of_shape((2, 4, 4)))
    with pytest.raises(ValueError, match="image has shape"):
        partial_objects(labels, labels[:1], core=Region.of_shape((2, 4, 4)))
