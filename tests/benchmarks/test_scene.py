"""Scenes and the mistakes that are made in their masks."""

from __future__ import annotations

import cc3d
import numpy as np

from synthetic.perturb import Mistakes, perturb
from synthetic.scene import make_scene

SCENE = make_scene((64, 80, 80), objects=12, seed=5, radius=(4, 6), length=(30, 60))


def test_a_scene_is_of_connected_objects_that_touch_and_is_always_the_same() -> None:
    assert SCENE.dtype == np.uint32 and int(SCENE.max()) >= 8
    assert (np.bincount(SCENE.ravel()) > 100).all()
    assert cc3d.connected_components(SCENE, connectivity=26).max() == SCENE.max()
    assert len(cc3d.region_graph(SCENE, connectivity=26)) >= 2
    np.testing.assert_array_equal(SCENE, make_scene((64, 80, 80), objects=12, seed=5, radius=(4, 6), length=(30, 60)))
    assert not np.array_equal(SCENE, make_scene((64, 80, 80), objects=12, seed=6, radius=(4, 6), length=(30, 60)))


def test_without_mistakes_masks_are_the_profiles() -> None:
    masks = perturb(SCENE, Mistakes(), seed=1)
    np.testing.assert_array_equal(masks > 0, SCENE > 0)
    for plane, truth in zip(masks, SCENE, strict=True):
        assert plane.max() == cc3d.connected_components(truth, connectivity=8).max()


def test_the_same_seed_makes_the_same_mistakes() -> None:
    mistakes = Mistakes.of_strength(1.0)
    np.testing.assert_array_equal(perturb(SCENE, mistakes, seed=1), perturb(SCENE, mistakes, seed=1))
    assert not np.array_equal(perturb(SCENE, mistakes, seed=1), perturb(SCENE, mistakes, seed=2))


def test_each_kind_of_mistake_does_what_it_says() -> None:
    plain = perturb(SCENE, Mistakes(), seed=1)
    count = int(sum(plane.max() for plane in plain))

    def masks(mistakes: Mistakes) -> tuple[np.ndarray, int]:
        made = perturb(SCENE, mistakes, seed=1)
        return made, sum(len(np.unique(plane[plane > 0])) for plane in made)

    dropped, fewer = masks(Mistakes(drop=0.3))
    assert 0.6 * count < fewer < 0.8 * count and not dropped[plain == 0].any()
    assert not masks(Mistakes(drop=1.0))[0].any()
    empty = [z for z, plane in enumerate(masks(Mistakes(drop_slice=0.3))[0]) if not plane.any()]
    assert 5 < len(empty) < 35
    cut, more = masks(Mistakes(split=0.3))
    assert 1.2 * count < more < 1.45 * count
    np.testing.assert_array_equal(cut > 0, plain > 0)
    joined, fewer = masks(Mistakes(merge=1.0))
    assert fewer < 0.9 * count and (joined[plain > 0] > 0).all()
    moved, _ = masks(Mistakes(jitter=1.0))
    assert 0.6 < ((moved > 0) & (plain > 0)).sum() / ((moved > 0) | (plain > 0)).sum() < 0.95
