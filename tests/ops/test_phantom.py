"""Phantoms: the same from the same seed, exact truth, and dark mitochondria that one can find."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from scipy import ndimage

from mitoscale.ops.phantom import Phantom, make_phantom

SEED = 1
"""One with neighbours that touch."""

SPACING = (20.0, 20.0, 20.0)
"""Coarse voxels: small objects, made quickly."""


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom((48, 128, 128), objects=16, seed=SEED, touching=0.5, spacing=SPACING)


def test_the_seed_decides(phantom: Phantom) -> None:
    again = make_phantom((48, 128, 128), objects=16, seed=SEED, touching=0.5, spacing=SPACING)
    assert (again.image == phantom.image).all() and (again.labels == phantom.labels).all()
    assert again.touching == phantom.touching
    other = make_phantom((48, 128, 128), objects=16, seed=SEED + 1, spacing=SPACING)
    assert (other.labels != phantom.labels).any()


def test_labels_count_from_one(phantom: Phantom) -> None:
    found = np.unique(phantom.labels)
    assert phantom.image.dtype == np.uint8 and phantom.labels.dtype == np.uint32
    assert phantom.image.shape == phantom.labels.shape == (48, 128, 128)
    assert found.tolist() == list(range(len(found))) and 8 <= len(found) - 1 <= 16


def test_touching_is_what_touches(phantom: Phantom) -> None:
    touch: set[int] = set()
    for label in range(1, int(phantom.labels.max()) + 1):
        near = ndimage.binary_dilation(phantom.labels == label, np.ones((3, 3, 3)))
        others = set(np.unique(phantom.labels[near]).tolist()) - {0, label}
        touch |= others
    assert touch == phantom.touching and touch


def test_mitochondria_that_do_not_touch_are_whole_and_apart() -> None:
    phantom = make_phantom((32, 64, 64), objects=3, seed=6, touching=0.0, spacing=SPACING)
    assert phantom.touching == frozenset()
    pieces = cc3d.connected_components((phantom.labels > 0).astype(np.uint8), connectivity=26)
    pairs = np.unique(np.stack([pieces[phantom.labels > 0], phantom.labels[phantom.labels > 0]]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1], "no two mitochondria are one piece"


def test_mitochondria_are_darker_than_what_surrounds_them(phantom: Phantom) -> None:
    inside = phantom.labels > 0
    assert phantom.image[inside].mean() < phantom.image[~inside].mean() - 15
    assert phantom.image[~inside].std() > 10, "background is not flat"


def test_voxels_of_another_size_give_objects_of_the_same_size() -> None:
    fine, coarse = (make_phantom((32, 48, 48), objects=2, seed=2, spacing=(nm,) * 3) for nm in (10.0, 20.0))
    assert fine.spacing == (10.0, 10.0, 10.0) and coarse.spacing == (20.0, 20.0, 20.0)
    assert np.bincount(coarse.labels.ravel())[1:].mean() < 0.5 * np.bincount(fine.labels.ravel())[1:].mean()


@pytest.mark.parametrize("z", [50.0, 250.0, 1000.0])
def test_thick_slices_show_what_they_meet(z: float) -> None:
    for seed in range(4):
        phantom = make_phantom((20, 96, 96), seed, objects=6, spacing=(z, 8.0, 8.0))
        found = np.unique(phantom.labels)
        assert found.tolist() == list(range(len(found))) and phantom.image.std() > 5
