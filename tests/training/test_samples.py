"""Training crops: shapes, ranges, and the same crops from the same seed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mitoscale.training.losses import foreground_loss
from mitoscale.training.samples import UNLABELLED, Annotated, CropSampler
from mitoscale.training.unet import separated_foreground

CONTEXT = (-20.0, 0.0, 20.0)


def sampler(volume: Annotated, **changes: object) -> CropSampler:
    options = {"size": 48, "pixel_nm": 10.0, "context_nm": CONTEXT} | changes
    return CropSampler([volume], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [32, 200])
@pytest.mark.parametrize("context", [(0.0,), CONTEXT])
@pytest.mark.parametrize("pixel_nm", [5.0, 10.0, 40.0])
def test_crops_have_the_size_asked_for(annotated: Annotated, size: int, context: tuple[float, ...], pixel_nm: float) -> None:
    draw = sampler(annotated, size=size, context_nm=context, pixel_nm=pixel_nm)
    for seed in range(6):
        crop = draw.draw(np.random.default_rng(seed))
        assert crop.image.shape == (len(context), size, size) and crop.image.dtype == np.uint8
        assert crop.labels.shape == (size, size) and crop.labels.dtype == np.int32
        assert np.ptp(crop.image) > 20
        assert set(np.unique(crop.labels)) <= set(np.unique(annotated.labels))


def test_the_generator_decides_the_crop(annotated: Annotated) -> None:
    one, same = sampler(annotated, bodies=0.5), sampler(annotated, bodies=0.5)
    same.draw(np.random.default_rng(77))  # what was drawn before changes nothing
    for seed in range(5):
        a, b, c = (s.draw(np.random.default_rng(n)) for s, n in ((one, seed), (same, seed), (one, seed + 100)))
        assert (a.image == b.image).all() and (a.labels == b.labels).all()
        assert (a.image != c.image).any()


def test_crops_are_centred_on_objects_as_often_as_asked(annotated: Annotated) -> None:
    lone = np.zeros_like(annotated.labels)
    lone[5:8, 5:25, 5:25] = 1
    few, many = (
        sum(bool(draw.draw(np.random.default_rng(seed)).labels.any()) for seed in range(40))
        for draw in (sampler(dataclasses.replace(annotated, labels=lone), object_share=s) for s in (0.0, 1.0))
    )
    assert many > 35 and few < 20


def test_shares_weigh_the_volumes(annotated: Annotated) -> None:
    other = dataclasses.replace(annotated, labels=np.where(annotated.labels > 0, 77, 0).astype(np.int32), share=0.0)
    draw = CropSampler([annotated, other], size=32, pixel_nm=10.0, context_nm=(0.0,), object_share=1.0)
    assert all(77 not in draw.draw(np.random.default_rng(seed)).labels for seed in range(15))


def test_thick_slices_are_copies_with_the_same_noise(annotated: Annotated) -> None:
    """Inference copies a slice where its neighbours are too far away, noise and all."""
    thick = dataclasses.replace(annotated, spacing=(1000.0, 10.0, 10.0))
    for seed in range(8):
        image = sampler(thick, varied=0.5).draw(np.random.default_rng(seed)).image
        assert (image[0] == image[1]).all() and (image[0] == image[2]).all()


def test_varied_crops_are_crops_too(annotated: Annotated) -> None:
    draw = sampler(annotated, varied=1.0, object_share=1.0, bodies=0.3)
    crops = [draw.draw(np.random.default_rng(seed)) for seed in range(300)]
    assert all(c.image.shape == (3, 48, 48) and c.labels.shape == (48, 48) for c in crops)
    again = draw.draw(np.random.default_rng(7))
    assert (again.image == crops[7].image).all() and (again.labels == crops[7].labels).all()
    parts = [c.image[1][c.labels > 0].mean() - c.image[1][c.labels == 0].mean() for c in crops if 0 < (c.labels > 0).mean() < 1]
    assert np.mean(np.array(parts) > 0) > 0.05, "at times mitochondria are lighter than what is around them"


def test_what_is_not_annotated_is_seldom_looked_at_and_never_learnt(annotated: Annotated) -> None:
    labels = np.full_like(annotated.labels, UNLABELLED)
    labels[:, :40] = annotated.labels[:, :40]
    draw = sampler(dataclasses.replace(annotated, labels=labels), object_share=0.0, size=32)
    crops = [draw.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert np.mean([(c.labels == UNLABELLED).mean() for c in crops]) < 0.35 < np.mean(labels == UNLABELLED)
    drawn = torch.from_numpy(np.stack([c.labels for c in crops]))[:, None]
    target, weight = separated_foreground(drawn)
    assert (weight[drawn < 0] == 0).all() and (target[drawn < 0] == 0).all() and (weight[drawn >= 0] >= 1).all()
    logits = torch.randn(target.shape, requires_grad=True)
    loss = foreground_loss(logits, target, weight)
    loss.backward()
    assert logits.grad is not None and (logits.grad[drawn < 0] == 0).all() and (logits.grad[drawn >= 0] != 0).any()
    other = torch.where(drawn < 0, torch.full_like(logits, 9.0), logits)
    assert torch.equal(foreground_loss(other, target, weight), loss), "whatever is answered there"


def test_each_crop_is_centred_on_what_is_annotated_however_little_that_is(annotated: Annotated) -> None:
    wide = ((0, 0), (8, 600), (8, 600))  # one pixel of 50, as where a slice is mostly padding
    labels = np.pad(annotated.labels, wide, constant_values=UNLABELLED)
    part = dataclasses.replace(annotated, image=np.pad(annotated.image, wide), labels=labels)
    draw = CropSampler([part], size=32, pixel_nm=10.0, context_nm=(0.0,), object_share=0.0)
    known = [(draw.draw(np.random.default_rng(seed)).labels != UNLABELLED).mean() for seed in range(60)]
    assert min(known) > 0.15


def test_a_volume_without_share_only_lends_its_grey_values(annotated: Annotated) -> None:
    unknown = np.broadcast_to(np.int32(UNLABELLED), annotated.labels.shape)
    lender = dataclasses.replace(annotated, image=np.full_like(annotated.image, 250), labels=unknown, share=0.0)
    options = {"size": 32, "pixel_nm": 10.0, "context_nm": (0.0,), "varied": 1.0}
    with_it, alone = (CropSampler(v, **options) for v in ([annotated, lender], [annotated]))  # type: ignore[arg-type]
    crops = [[s.draw(np.random.default_rng(seed)) for seed in range(30)] for s in (with_it, alone)]
    assert all((c.labels != UNLABELLED).all() for c in crops[0])
    assert any((a.image != b.image).any() for a, b in zip(*crops, strict=True))


def test_touching_instances_are_parted() -> None:
    labels = torch.zeros(1, 1, 9, 12, dtype=torch.int64)
    labels[..., 2:7, 1:6] = 3
    labels[..., 2:7, 6:11] = 8
    target, weight = separated_foreground(labels)
    assert (target[..., 2:7, 5:7] == 0).all(), "a gap of one pixel on each side"
    assert (target[..., 2:7, 1:5] == 1).all() and (target[..., 2:7, 7:11] == 1).all()
    assert (weight[..., 2:7, 4:8] == 5).all() and (weight[..., :, :3] == 1).all()


def test_what_touches_nothing_stays_whole() -> None:
    labels = torch.zeros(2, 1, 8, 8, dtype=torch.int64)
    labels[0, 0, :4, :4] = 1
    labels[0, 0, 5:, 5:] = 2
    target, weight = separated_foreground(labels)
    assert torch.equal(target, (labels > 0).float()) and (weight == 1).all()


@given(arrays.arrays(np.int64, (1, 1, 7, 8), elements=st.integers(0, 3)))
def test_parting_is_what_its_words_say(labels: np.ndarray) -> None:
    target, weight = separated_foreground(torch.from_numpy(labels))
    padded = np.pad(labels[0, 0], 1)
    for y, x in np.ndindex(7, 8):
        around = padded[y : y + 3, x : x + 3]
        own = labels[0, 0, y, x]
        expected = own > 0 and set(np.unique(around)) <= {0, own}
        assert bool(target[0, 0, y, x]) == expected
    assert set(weight.unique().tolist()) <= {1.0, 5.0}
    assert (weight[(torch.from_numpy(labels) > 0) & (target == 0)] == 5).all()
