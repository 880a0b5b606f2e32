"""The stitch of an oracle's fragments is the truth, one to one, wherever the blocks' edges and corners fall."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.evaluation.object_metrics import object_scores_3d
from mitoscale.ops.instances import connected_parts
from mitoscale.ops.link import link, open_ends
from synthetic.assemble import assemble
from synthetic.perturb import Mistakes, perturb
from synthetic.scene import make_scene

Fragments = dict[Triple, np.ndarray]
SMALL = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def oracle(truth: np.ndarray, grid: BlockGrid, seed: int = 0) -> Fragments:
    """Of each block the connected parts of the truth in its read region, numbered in a random order."""
    rng = np.random.default_rng(seed)
    fragments = {}
    for block in grid.blocks():
        parts, count = cc3d.connected_components(np.ascontiguousarray(truth[block.halo.slices]), connectivity=26, return_N=True)
        names = np.concatenate([[0], 1 + rng.permutation(count)]).astype(np.uint32)
        fragments[block.index] = names[parts]
    return fragments


def stitch(fragments: Fragments, grid: BlockGrid, shape: Triple, seed: int = 0) -> np.ndarray:
    """(Z, Y, X) uint64 labels of the whole volume, 0 outside the grid's region; faces are compared in a random order."""
    faces = list(grid.faces())
    order = np.random.default_rng(seed).permutation(len(faces))
    result = np.zeros(shape, np.uint64)
    result[grid.region.slices] = assemble(grid, fragments, faces=[faces[i] for i in order])
    return result


def assert_same_objects(labels: np.ndarray, truth: np.ndarray) -> None:
    """Equal up to the names of the objects."""
    np.testing.assert_array_equal(labels > 0, truth > 0)
    inside = truth > 0
    pairs = np.unique(np.stack([labels[inside], truth[inside].astype(np.uint64)], axis=1), axis=0)
    fused = pairs[:, 0][np.flatnonzero(np.bincount(np.unique(pairs[:, 0], return_inverse=True)[1]) > 1)]
    assert len(pairs) == len(np.unique(pairs[:, 0])), f"objects {fused.tolist()} hold several true ones"
    assert len(pairs) == len(np.unique(pairs[:, 1])), "a true object is split"


def check(truth: np.ndarray, core: Triple, margin: Triple, region: Region | None = None) -> None:
    """Stitch the oracle's fragments of the region, and compare with the truth there."""
    region = region or Region.of_shape(truth.shape)
    truth = truth.copy()
    outside = np.ones(truth.shape, bool)
    outside[region.slices] = False
    truth[outside] = 0
    truth = connected_parts(truth)
    grid = BlockGrid(region=region, core_shape=core, margin=margin)
    first = stitch(oracle(truth, grid, seed=1), grid, truth.shape, seed=1)
    assert_same_objects(first, truth)
    again = stitch(oracle(truth, grid, seed=1), grid, truth.shape, seed=2)
    np.testing.assert_array_equal(first, again)  # the order of the faces does not matter, bit for bit


def tubes(shape: Triple, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random walks of random thickness that cross, touch, turn back and branch."""
    truth = np.zeros(shape, np.uint32)
    for label in range(1, count + 1):
        radius = int(rng.integers(0, 3))
        at = np.array([rng.integers(0, n) for n in shape], float)
        direction = rng.normal(size=3)
        for _ in range(int(rng.integers(5, 60))):
            direction = direction + 0.5 * rng.normal(size=3)
            at = at + direction / np.linalg.norm(direction)
            if not all(0 <= a < n for a, n in zip(at, shape, strict=True)):
                break
            low = np.maximum(at.astype(int) - radius, 0)
            box = tuple(slice(int(a), int(a) + 2 * radius + 1) for a in low)
            truth[box][truth[box] == 0] = label
    return truth


@st.composite
def cuts(draw: st.DrawFn, least_margin: int = 4) -> tuple[Triple, Triple, Triple, Region]:
    """Shape, core, margin and region: three blocks or more on some axes, cores cut anywhere at the border."""
    core = tuple(draw(st.integers(5, 14)) for _ in range(3))
    margin = tuple(draw(st.integers(min(least_margin, c), min(c, 7))) for c in core)
    shape = tuple(draw(st.integers(6, 3 * c)) for c in core)
    start = tuple(draw(st.integers(0, n // 3)) for n in shape)
    stop = tuple(draw(st.integers(n - n // 3, n)) for n in shape)
    return shape, core, margin, Region(start=start, stop=stop)  # type: ignore[return-value, arg-type]


@SMALL
@given(cuts(), st.integers(0, 2**32 - 1), st.integers(1, 25))
def test_tubes(cut: tuple[Triple, Triple, Triple, Region], seed: int, count: int) -> None:
    shape, core, margin, region = cut
    check(tubes(shape, count, np.random.default_rng(seed)), core, margin, region)


@SMALL
@given(cuts(least_margin=1), st.integers(0, 2**32 - 1), st.floats(0.02, 0.4), st.integers(1, 5))
@example(((41, 25, 6), (14, 12, 5), (1, 1, 1), Region(start=(0, 0, 0), stop=(28, 17, 4))), 1957, 0.375, 3)
def test_noise(cut: tuple[Triple, Triple, Triple, Region], seed: int, density: float, kinds: int) -> None:
    """Voxels of a few labels strewn at random: no shape is too odd, and a margin of one voxel is enough."""
    shape, core, margin, region = cut
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, kinds + 1, shape).astype(np.uint32) * (rng.random(shape) < density)
    check(truth.astype(np.uint32), core, margin, region)


@pytest.mark.parametrize("direction", [(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_diagonal_bar_through_a_corner(direction: Triple, length: int) -> None:
    """From block 000 to block 111 (or across): two blocks that share a corner and no face."""
    truth = np.zeros((24, 24, 24), np.uint32)
    for i in range(-length, length):
        truth[tuple((12 + i) if d > 0 else (11 - i) for d in direction)] = 1
    check(truth, (12, 12, 12), (4, 4, 4))
    labels = stitch_of(truth, (12, 12, 12), (4, 4, 4))
    assert len(np.unique(labels[truth > 0])) == 1


@pytest.mark.parametrize("along", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_diagonal_bar_through_an_edge(along: int, sign: int, length: int) -> None:
    """Between two blocks that share an edge and no face."""
    truth = np.zeros((24, 24, 24), np.uint32)
    for i in range(-length, length):
        at = [12 + i, 12 + i if sign > 0 else 11 - i]
        at.insert(along, 5)
        truth[tuple(at)] = 1
    labels = stitch_of(truth, (12, 12, 12), (4, 4, 4))
    assert_same_objects(labels, truth)


def test_two_diagonal_bars_cross_at_a_corner_and_stay_two() -> None:
    truth = np.zeros((24, 24, 24), np.uint32)
    for i in range(-6, 6):
        truth[12 + i, 12 + i, 12 + i] = 1
        truth[12 + i, 11 - i, 12 + i] = 2
    assert len(np.unique(truth)) == 3
    check(truth, (12, 12, 12), (4, 4, 4))


def stitch_of(truth: np.ndarray, core: Triple, margin: Triple) -> np.ndarray:
    """The stitch of the oracle's fragments of the whole volume."""
    grid = BlockGrid(region=Region.of_shape(truth.shape), core_shape=core, margin=margin)
    return stitch(oracle(truth, grid), grid, truth.shape)


def letter(name: str, axis: int) -> np.ndarray:
    """A U or a W of tubes in a volume of 32^3; the arms run along ``axis`` through its middle."""
    truth = np.zeros((32, 32, 32), np.uint32)
    arms = {"U": (8, 20), "W": (4, 14, 24)}[name]
    for x in arms:
        truth[4:28, 12:16, x : x + 4] = 1
    truth[26:29, 12:16, arms[0] : arms[-1] + 4] = 1
    return np.ascontiguousarray(np.moveaxis(truth, 0, axis))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["U", "W"])
@pytest.mark.parametrize("core", [8, 11, 16])
def test_letters(name: str, axis: int, core: int) -> None:
    """One object in one block, several in its neighbour; and two letters of which one lies in the other's arms."""
    truth = letter(name, axis)
    check(truth, (core,) * 3, (4,) * 3)
    inner = np.flip(letter(name, axis), axis)
    nested = np.where(truth > 0, truth, 2 * np.roll(inner, 5, axis=(axis + 2) % 3))
    check(nested.astype(np.uint32), (core,) * 3, (4,) * 3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_touching_tubes_stay_apart(axis: int) -> None:
    """Two tubes side by side through every face, and a third that touches both, across the middle of a face."""
    truth = np.zeros((32, 32, 32), np.uint32)
    truth[:, 10:16, 8:16], truth[:, 10:16, 16:24], truth[:, 16:20, 12:20] = 1, 2, 3
    truth = np.ascontiguousarray(np.moveaxis(truth, 0, axis))
    check(truth, (16, 16, 16), (4, 4, 4))
    check(truth, (8, 16, 11), (8, 5, 4))


def test_flat_volume_needs_no_margin_in_z() -> None:
    check(tubes((1, 40, 40), 12, np.random.default_rng(3)), (1, 16, 16), (0, 4, 4))


def test_empty_volume() -> None:
    check(np.zeros((16, 16, 16), np.uint32), (8, 8, 8), (4, 4, 4))


def scene() -> np.ndarray:
    """Smooth tubes of radius 5: a Y, a U, a ring, a helix, and two that touch side by side."""
    turn = np.linspace(0, 2 * np.pi, 60)
    paths = [
        [
            [(z, 12, 12 + max(0, z - 16) * 0.7) for z in range(4, 44)],
            [(z, 12, 12 - max(0, z - 16) * 0.3) for z in range(44)],
        ],
        [
            [(z, 14, 50) for z in range(20, 42)],
            [(z, 14, 74) for z in range(20, 42)],
            [(42, 14, x) for x in range(50, 75)],
        ],
        [[(24 + 12 * np.sin(t), 40, 20 + 12 * np.cos(t)) for t in turn]],
        [[(4 + 6 * t, 60 + 10 * np.sin(t), 62 + 10 * np.cos(t)) for t in turn]],
        [[(z, 68, 10) for z in range(2, 46)]],
        [[(z, 68, 19) for z in range(2, 46)]],
    ]
    grid = np.stack(np.meshgrid(*map(np.arange, (48, 80, 88)), indexing="ij"), axis=-1).reshape(-1, 3)
    truth = np.zeros((48, 80, 88), np.uint32)
    for label, lines in enumerate(paths, start=1):
        distance, _ = cKDTree(np.array([p for line in lines for p in line])).query(grid, distance_upper_bound=5)
        truth[(distance.reshape(truth.shape) < 5) & (truth == 0)] = label
    return truth


@pytest.mark.parametrize("core", [(16, 24, 24), (24, 40, 48), (48, 80, 88)])
def test_smooth_tubes(core: Triple) -> None:
    check(scene(), core, (8, 12, 12))


@pytest.mark.parametrize("z_step", [10.0, 40.0])
@pytest.mark.parametrize("core", [(16, 24, 24), (24, 40, 48), (48, 80, 88)])
def test_linked_masks_of_each_slice(core: Triple, z_step: float) -> None:
    """With the true masks of each slice for an oracle, link and stitch together find the true objects."""
    truth = scene()
    grid = BlockGrid(region=Region.of_shape(truth.shape), core_shape=core, margin=(8, 16, 16))
    fragments = {}
    for block in grid.blocks():
        slices = [cc3d.connected_components(np.ascontiguousarray(s), connectivity=8) for s in truth[block.halo.slices]]
        fragments[block.index] = link(slices, (z_step, 10.0, 10.0))
    assert_same_objects(stitch(fragments, grid, truth.shape), truth)


@pytest.mark.parametrize(("core", "margin"), [((32, 32, 32), (8, 8, 8)), ((50, 41, 64), (8, 8, 8)), ((96, 64, 100), (9, 10, 11))])
def test_scene_of_touching_branching_and_bent_objects(core: Triple, margin: Triple) -> None:
    """The small sister of benchmarks/oracle_fragments.py."""
    check(make_scene((96, 96, 112), objects=16, seed=4, radius=(4, 7), length=(30, 70)), core, margin)


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_linked_masks_with_mistakes(strength: float) -> None:
    """The small sister of benchmarks/perturbed_masks.py: each block makes mistakes of its own, and most objects come back."""
    truth = make_scene((72, 112, 112), objects=14, seed=2, radius=(5, 8), length=(30, 70))
    grid = BlockGrid(region=Region.of_shape(truth.shape), core_shape=(36, 56, 56), margin=(8, 28, 28))
    fragments = {}
    for block in grid.blocks():
        masks = perturb(truth[block.halo.slices], Mistakes.of_strength(strength), seed=grid.number(block.index))
        fragments[block.index] = link(masks, (10.0, 10.0, 10.0), open_ends=open_ends(block))
    labels = assemble(grid, fragments)
    large = np.bincount(labels.ravel().astype(np.int64)) >= 300
    large[0] = False
    scores = object_scores_3d(np.where(large[labels], labels, 0), truth, 1000)
    assert scores["f1_75" if strength == 0 else "f1_50"] >= (1.0 if strength == 0 else 0.7), scores
