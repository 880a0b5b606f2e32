"""Scenes: exact labels, many looks, the same ones from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from mitoscale.core.errors import InputError
from mitoscale.ops.scenes.bodies import Kind, draw_body
from mitoscale.ops.scenes.canvas import Canvas, body_depth
from mitoscale.ops.scenes.cells import make_cells
from mitoscale.ops.scenes.microscope import Microscope, expose
from mitoscale.ops.scenes.mitochondrion_look import MitochondrionLook, draw_mitochondrion
from mitoscale.ops.scenes.presets import PRESETS
from mitoscale.ops.scenes.scene import Scene, make_scene
from mitoscale.ops.scenes.tube_shapes import tube_depth
from mitoscale.ops.scenes.tubes import Tubes, draw_tubes

SHAPE = (3, 192, 192)


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[Scene]]:
    return {name: [make_scene(preset, SHAPE, seed) for seed in (1, 2, 3)] for name, preset in PRESETS.items()}


def difference(scene: Scene) -> float:
    inside = scene.labels > 0
    return float(scene.image[inside].mean() - scene.image[~inside].mean())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_shows_mitochondria_and_their_surroundings(scenes: dict[str, list[Scene]], name: str) -> None:
    for scene in scenes[name]:
        assert scene.image.shape == scene.labels.shape == SHAPE
        assert scene.image.dtype == np.uint8 and scene.labels.dtype == np.uint32
        assert scene.image.std() > 8
        assert (scene.labels == 0).mean() > 0.1
        assert 3 <= scene.spacing[2] <= 16 and scene.spacing[0] >= scene.spacing[2]
    assert sum(len(np.unique(s.labels)) - 1 for s in scenes[name]) >= 2


def test_mitochondria_are_darker_in_some_tissues_and_lighter_in_others(scenes: dict[str, list[Scene]]) -> None:
    found = [difference(s) for some in scenes.values() for s in some if s.labels.any()]
    assert min(found) < -15 and max(found) > 5


@pytest.mark.parametrize("name", ["thick-sections", "heart-muscle-light", "fibroblast"])
def test_the_same_seed_gives_the_same_scene(scenes: dict[str, list[Scene]], name: str) -> None:
    again = make_scene(PRESETS[name], SHAPE, 1)
    assert np.array_equal(again.image, scenes[name][0].image) and np.array_equal(again.labels, scenes[name][0].labels)
    assert not np.array_equal(again.image, scenes[name][1].image)


@settings(max_examples=6, deadline=None)
@given(
    name=st.sampled_from(sorted(PRESETS)),
    shape=st.tuples(st.integers(1, 4), st.integers(96, 140), st.integers(96, 140)),
    seed=st.integers(0, 2**31),
)
def test_any_shape_and_seed_can_be_drawn(name: str, shape: tuple[int, int, int], seed: int) -> None:
    scene = make_scene(PRESETS[name], shape, seed)
    assert scene.image.shape == scene.labels.shape == shape
    assert (scene.spacing[0] == 1000) == (shape[0] == 1)


@pytest.mark.parametrize("shape", [(0, 200, 200), (3, 95, 200)])
def test_a_scene_without_room_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="too small"):
        make_scene(PRESETS["fibroblast"], shape, 0)


@pytest.mark.parametrize("wrong", [{"swollen": 1.5}, {"patches": -1}, {"cristae": ("spiral",)}, {"colour": 1}])
def test_a_wrong_look_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MitochondrionLook(**wrong)  # type: ignore[arg-type]


def canvas(seed: int = 0) -> Canvas:
    return Canvas(shape=(5, 150, 150), spacing=(20.0, 8.0, 8.0), rng=np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["lysosome", "multivesicular", "lipid", "whorl", "vacuole", "dense core", "vesicle", "granule"])
def test_bodies_are_seen_and_never_labelled(kind: Kind) -> None:
    drawn = canvas()
    draw_body(drawn, kind, drawn.extent / 2)
    assert not drawn.labels.any()
    assert np.abs(drawn.image - 0.65).max() > 0.05


@pytest.mark.parametrize("kind", ["lysosome", "lipid", "whorl", "vesicle", "granule"])
def test_a_body_leaves_a_mitochondrion_as_it_is(kind: Kind) -> None:
    drawn = canvas()
    found = body_depth(drawn, drawn.extent / 2, np.array([300.0, 300.0, 300.0]), rough=0.0)
    assert found is not None and draw_mitochondrion(drawn, *found, MitochondrionLook())
    inside, before = drawn.labels > 0, drawn.image.copy()
    draw_body(drawn, kind, drawn.extent / 2)
    assert np.array_equal(drawn.image[inside], before[inside])


def test_labels_are_the_shape_that_was_drawn() -> None:
    drawn = canvas()
    found = body_depth(drawn, drawn.extent / 2, np.array([250.0, 250.0, 250.0]), rough=0.0)
    assert found is not None
    draw_mitochondrion(drawn, *found, MitochondrionLook(matrix=(0.2, 0.2), patches=0, cristae=("none",)))
    z, y, x = drawn.grid(drawn.whole)
    middle = drawn.extent / 2
    ball = np.square(z - middle[0]) + np.square(y - middle[1]) + np.square(x - middle[2]) < 250**2
    assert (ball != (drawn.labels == 1)).mean() < 1e-3
    assert drawn.image[ball].mean() < 0.35 and np.all(drawn.image[~ball] == np.float32(0.65))


def test_what_shows_too_little_of_a_mitochondrion_is_not_drawn() -> None:
    drawn = canvas()
    found = body_depth(drawn, drawn.extent / 2, np.array([20.0, 20.0, 20.0]), rough=0.0)
    assert found is not None and not draw_mitochondrion(drawn, *found, MitochondrionLook())
    assert not drawn.labels.any() and not drawn.taken.any()


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((24, 150, 150), (12.0, 12.0, 12.0)), ((8, 200, 200), (50.0, 8.0, 8.0)), ((1, 400, 400), (50.0, 6.0, 6.0))],
)
def test_tubes_that_touch_are_told_whatever_the_voxels(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    told = 0
    for seed in range(3):
        drawn = Canvas(shape=shape, spacing=spacing, rng=np.random.default_rng(seed))
        touching = draw_tubes(drawn, Tubes(touching=0.6), PRESETS["phantom"].mitochondria, 12)
        found: set[int] = set()
        for label in range(1, int(drawn.labels.max()) + 1):
            near = ndimage.binary_dilation(drawn.labels == label, np.ones((3, 3, 3)))
            found |= set(np.unique(drawn.labels[near]).tolist()) - {0, label}
        assert found == touching and drawn.labels.max() >= 6
        told += len(touching)
    assert told >= 4


def test_tubes_without_partners_do_not_touch_and_none_is_drawn_over_a_body() -> None:
    drawn = Canvas(shape=(24, 150, 150), spacing=(12.0, 12.0, 12.0), rng=np.random.default_rng(3))
    assert draw_tubes(drawn, Tubes(touching=0.0, bodies=20), PRESETS["phantom"].mitochondria, 8) == frozenset()
    mitochondria = ndimage.binary_dilation(drawn.labels > 0, np.ones((3, 3, 3)))
    assert drawn.labels.any() and not (mitochondria & drawn.taken & (drawn.labels == 0)).any()


@pytest.mark.parametrize("branching", [False, True])
def test_tubes_are_as_thick_as_asked_for_whatever_the_voxels(branching: bool) -> None:
    for spacing in ((10.0, 10.0, 10.0), (50.0, 6.0, 6.0)):
        drawn = Canvas(shape=(1, 1, 1), spacing=spacing, rng=np.random.default_rng(1))
        depth = [tube_depth(drawn, 120.0, 600.0, branching=branching) for _ in range(10)]
        assert 90 < np.mean([d.max() for d in depth]) < 160
        volume = np.mean([np.count_nonzero(d > 0) for d in depth]) * np.prod(spacing)
        plain = np.pi * 120**2 * 600 + 4 / 3 * np.pi * 120**3
        assert 0.85 * plain < volume < (2.0 if branching else 1.2) * plain


def test_cells_have_walls_where_their_numbers_change() -> None:
    cells = make_cells(canvas(), 400.0)
    wall = cells.number[:, :, 1:] != cells.number[:, :, :-1]
    assert wall.any()
    assert np.median(cells.depth[:, :, 1:][wall]) < 10 < np.median(cells.depth)


def test_drift_moves_picture_and_truth_together() -> None:
    drawn = canvas()
    drawn.image[:] = 0.8
    drawn.image[:, 60:90, 60:90] = 0.2
    drawn.labels[:, 60:90, 60:90] = 1
    image = expose(drawn, Microscope(drift_nm=60, blur_nm=(0.1, 0.1), noise=(0, 0), uneven=0))
    assert np.array_equal(image < 128, drawn.labels > 0)
    assert any((drawn.labels[z] != drawn.labels[0]).any() for z in range(1, 5))
