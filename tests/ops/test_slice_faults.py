"""Bad slices are told from good ones, and what tells them is the same however the volume is cut."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mitoscale.ops.padding_detection import CELL, flat_runs
from mitoscale.ops.slice_faults import facts_of_sums, slice_states
from mitoscale.ops.slice_sums import AHEAD, Sums, slice_sums

DEPTH = 16


def tissue(step: float = 4.0) -> np.ndarray:
    """(Z, Y, X) uint8 texture that goes on from slice to slice, with noise of its own in each."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(DEPTH, 96, 104)), (step, 4, 4))
    return (128 + 30 * smooth / smooth.std() + rng.normal(0, 8, smooth.shape)).clip(1, 254).astype(np.uint8)


def states(image: np.ndarray, missing: tuple[int, ...] = ()) -> list[str]:
    """The state of each slice; some are not there."""
    runs = flat_runs(image)
    sums = slice_sums(image, runs, len(image))
    flat = np.array([((runs["x1"] - runs["x0"]) * (runs["z"] == z)).sum() for z in range(len(image))])
    facts = facts_of_sums(sums, flat * CELL**2 / image[0].size, np.isin(np.arange(len(image)), missing))
    return slice_states(facts).tolist()


def good(**others: str) -> list[str]:
    """All good but ``z7="lost"``."""
    return [others.get(f"z{z}", "good") for z in range(DEPTH)]


def test_a_clean_volume_has_no_bad_slice() -> None:
    for step in (0.7, 2.0, 4.0):
        assert states(tissue(step)) == good()
    assert states(np.random.default_rng(1).integers(1, 255, (DEPTH, 64, 64)).astype(np.uint8)) == good()  # no stack at all


def test_each_fault_is_told_by_its_name() -> None:
    for z in (7, 1, 0, DEPTH - 1):
        image = tissue()
        image[z] = 0
        assert states(image) == good(**{f"z{z}": "lost"})
    image = tissue()
    image[7, 40:] = 255
    assert states(image) == good(z7="partly lost")
    image = tissue()
    image[7] = image[6]
    assert states(image) == good(z7="duplicate")
    image = tissue()
    image[7] = np.roll(image[7], (25, 25), (0, 1))
    assert states(image) == good(z7="elsewhere")
    image = tissue()
    image[7] = ndimage.gaussian_filter(image[7], 3)
    assert states(image) == good(z7="blurred")
    for change in (lambda plane: plane * 0.4 + 120, lambda plane: np.clip(plane + 60.0, 0, 255), lambda plane: plane * 0.5):
        image = tissue()
        image[7] = change(image[7])
        assert states(image) == good(z7="brightness")
    image = tissue()
    image[9:] = np.roll(image[9:], (40, 40), (1, 2))
    assert states(image) == good(z9="jump")


def test_neighbouring_faults_and_borders_that_stay() -> None:
    image = tissue()
    image[6:8], image[12] = 0, 0
    image[:, :24] = 0  # a border that all slices have
    assert states(image) == good(z6="lost", z7="lost", z12="lost")


def test_a_missing_slice_is_missing_whatever_it_holds() -> None:
    image = tissue()
    image[6:8] = 0
    assert states(image, (6,)) == good(z6="missing", z7="lost")
    assert states(tissue(), (3,)) == good(z3="missing")


def test_where_most_seems_bad_nothing_is() -> None:
    image = tissue()
    image[1::2] = image[::2]  # each slice twice
    assert states(image) == good()


def joined(image: np.ndarray, cuts: tuple[int, ...], layers: tuple[int, ...]) -> Sums:
    """Sums of the whole, from parts."""
    total: Sums = {}
    for z0, z1 in zip((0, *layers), (*layers, len(image)), strict=True):
        for y0, y1 in zip((0, *cuts), (*cuts, image.shape[1]), strict=True):
            part = image[z0 : z1 + AHEAD, y0:y1]
            for name, values in slice_sums(part, flat_runs(part), z1 - z0).items():
                total.setdefault(name, np.zeros(len(image), values.dtype))[z0:z1] += values
    return total


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_sums_of_parts_are_those_of_the_whole(dtype: str) -> None:
    image = (tissue().astype(np.float32) * (250 if dtype == "uint16" else 1)).astype(dtype)
    image[4], image[9, :30] = 0, 7
    whole = slice_sums(image, flat_runs(image), len(image))
    for cuts, layers in (((), (5,)), ((8, 64), ()), ((32,), (1, 2, 15)), ((88,), (8, 9))):
        found = joined(image, cuts, layers)
        for name in whole.keys() - {"digest"}:
            if dtype == "float32":
                np.testing.assert_allclose(found[name], whole[name], rtol=1e-9)
            else:
                assert np.array_equal(found[name], whole[name]), name
