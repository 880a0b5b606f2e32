"""Drawn bodies: where they may lie, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.training.decoys import Body, draw_body, place_body
from mitoscale.training.samples import Annotated, CropSampler

OFFSETS = np.array([-40.0, -20.0, 0.0, 20.0, 40.0])


def some_body(seed: int, size: int = 96, offsets: np.ndarray = OFFSETS) -> tuple[Body, np.random.Generator]:
    rng = np.random.default_rng(seed)
    while True:
        body = place_body(size, 10.0, offsets, rng)
        if body is not None:
            return body, rng


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from(["made up", "donor"]), st.booleans())
def test_only_its_own_box_changes_and_never_a_mitochondrion(seed: int, kind: str, thick: bool) -> None:
    offsets = OFFSETS * 0 if thick else OFFSETS
    body, rng = some_body(seed, offsets=offsets)
    image = rng.uniform(0.3, 0.9, (5, 96, 96)).astype(np.float32)
    before = image.copy()
    free = np.ones((96, 96), bool)
    free[:, 30:50] = False
    donor = rng.uniform(0, 1, body.depth_nm.shape).astype(np.float32) if kind == "donor" else None
    draw_body(image, body, free, 10.0, offsets, rng, donor)
    assert np.isfinite(image).all() and image.dtype == np.float32
    assert np.array_equal(image[:, ~free], before[:, ~free])
    outside = np.ones((96, 96), bool)
    outside[body.rows, body.columns] = False
    assert np.array_equal(image[:, outside], before[:, outside])


@pytest.mark.parametrize("seed", range(8))
def test_a_body_is_darker_than_the_crop(seed: int) -> None:
    body, rng = some_body(seed)
    image = rng.normal(0.7, 0.1, (5, 96, 96)).astype(np.float32)
    draw_body(image, body, np.ones((96, 96), bool), 10.0, OFFSETS, rng)
    inside = body.depth_nm[2] > 15
    assert image[2, body.rows, body.columns][inside].mean() < 0.7


@given(st.integers(0, 10_000))
def test_a_body_reaches_the_slice_itself(seed: int) -> None:
    body, _ = some_body(seed)
    assert body.depth_nm.shape == (5, body.rows.stop - body.rows.start, body.columns.stop - body.columns.start)
    assert (body.depth_nm[2] > 0).sum() >= 50


def test_crops_with_bodies_come_from_the_seed_and_keep_their_labels(annotated: Annotated) -> None:
    def sampler(bodies: float) -> CropSampler:
        return CropSampler([annotated], size=64, pixel_nm=10.0, context_nm=tuple(OFFSETS), bodies=bodies)

    one, same, none = sampler(0.7), sampler(0.7), sampler(0.0)
    first, again, plain = (s.draw(np.random.default_rng(4)) for s in (one, same, none))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, plain.labels), "bodies are background"
    drawn = [tuple(s.draw(np.random.default_rng(n)).image for s in (one, same)) for n in range(6)]
    assert all(np.array_equal(a, b) for a, b in drawn)
