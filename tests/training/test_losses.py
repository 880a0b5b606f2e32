"""Losses: near 0 where the answer is perfect, larger the worse it is."""

from __future__ import annotations

import pytest
import torch

from mitoscale.training.losses import foreground_loss, mask_losses, soft_dice

TRUTH = torch.zeros(2, 1, 16, 16)
TRUTH[0, 0, 3:9, 4:12] = 1
TRUTH[1, 0, 10:, 10:] = 1
SURE = (TRUTH * 2 - 1) * 20


def test_dice_of_a_perfect_and_of_an_opposite_answer() -> None:
    assert soft_dice(SURE, TRUTH).shape == (2, 1)
    assert soft_dice(SURE, TRUTH).max() < 1e-3
    assert soft_dice(-SURE, TRUTH).min() > 0.98


def test_dice_of_half_a_mask_is_what_counting_gives() -> None:
    """24 of 48 pixels found and none too many: Dice = 2 * 24 / (24 + 48), up to the smoothing by one pixel."""
    half = SURE.clone()
    half[0, 0, 3:6] = -20
    assert float(soft_dice(half, TRUTH)[0, 0]) == pytest.approx(1 - (48 + 1) / (72 + 1), abs=1e-4)


def test_nothing_wanted_and_nothing_found_is_perfect() -> None:
    nothing = torch.zeros(1, 1, 8, 8)
    assert soft_dice(nothing - 20, nothing).item() < 1e-3
    assert foreground_loss(nothing - 20, nothing, torch.ones_like(nothing)).item() < 1e-3


def test_foreground_loss_falls_to_zero() -> None:
    weight = torch.ones_like(TRUTH)
    perfect, unsure, wrong = (foreground_loss(s * SURE, TRUTH, weight).item() for s in (1.0, 0.0, -1.0))
    assert perfect < 1e-3 < unsure < wrong


def test_weight_makes_a_mistake_dearer() -> None:
    mistaken = SURE.clone()
    mistaken[0, 0, 0, 0] = 5
    weight = torch.ones_like(TRUTH)
    plain = foreground_loss(mistaken, TRUTH, weight)
    weight[0, 0, 0, 0] = 5
    assert foreground_loss(mistaken, TRUTH, weight) > plain


def test_mask_losses_stand_alone() -> None:
    """One loss a prompt and a mask: a bad mask does not change its neighbour's loss."""
    logits = torch.cat([SURE, -SURE, torch.zeros_like(SURE)], dim=1)
    known = torch.ones_like(TRUTH[:, 0], dtype=torch.bool)
    losses = mask_losses(logits, TRUTH[:, 0], known)
    assert losses.shape == (2, 3)
    assert (losses[:, 0] < 1e-3).all() and (losses[:, 0] < losses[:, 2]).all() and (losses[:, 2] < losses[:, 1]).all()
    torch.testing.assert_close(mask_losses(logits[:, 1:2], TRUTH[:, 0], known)[:, 0], losses[:, 1])


def test_losses_can_be_followed_downhill() -> None:
    logits = torch.zeros_like(TRUTH, requires_grad=True)
    foreground_loss(logits, TRUTH, torch.ones_like(TRUTH)).backward()
    assert logits.grad is not None and (torch.sign(-logits.grad) == TRUTH * 2 - 1).all()


def test_what_is_not_known_counts_in_no_mask() -> None:
    known = torch.ones_like(TRUTH[:, 0], dtype=torch.bool)
    known[:, :, 9:] = False
    target = TRUTH[:, 0] * known
    logits = torch.randn(2, 3, 16, 16, generator=torch.manual_seed(0)).requires_grad_()
    losses = mask_losses(logits, target, known)
    losses.sum().backward()
    assert logits.grad is not None and (logits.grad[..., 9:] == 0).all() and (logits.grad[..., :9] != 0).all()
    other = torch.where(known[:, None], logits, 30.0)
    assert torch.equal(mask_losses(other, target, known), losses), "whatever is answered there"
    cut = mask_losses(logits[..., :9], target[..., :9], known[..., :9])
    torch.testing.assert_close(losses, cut)
