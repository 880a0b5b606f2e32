"""Losses of training: Dice plus cross-entropy."""

from __future__ import annotations

import torch
from torch.nn import functional

_CERTAIN = 30.0
"""A logit whose probability is 0 or 1 in float32."""


def soft_dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - Dice of each mask (Milletari et al. 2016, arXiv 1606.04797).

    Parameters
    ----------
    logits, target : (..., H, W) float
        Logits and the wanted probability 0..1.

    Returns
    -------
    (...) float
        0 is perfect, 1 the worst.
    """
    probability = logits.sigmoid()
    overlap = (probability * target).sum((-2, -1))
    total = probability.sum((-2, -1)) + target.sum((-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


def foreground_loss(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy plus Dice over the whole batch, for the U-Net.

    Parameters
    ----------
    logits, target, weight : (N, 1, H, W) float
        Logits, the wanted 0 or 1, and each pixel's weight in the cross-entropy; where that is 0 a pixel counts in neither.

    Returns
    -------
    () float
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, weight=weight)
    logits = torch.where(weight > 0, logits, -_CERTAIN)  # no part of the Dice, as the target is 0 there
    flat = (1, 1, 1, -1)
    return entropy + soft_dice(logits.reshape(flat), target.reshape(flat)).mean()


def mask_losses(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus Dice of each mask apart, for SAM.

    Parameters
    ----------
    logits : (P, M, H, W) float
        M masks for each prompt.
    target : (P, H, W) float
        The wanted probability 0..1; 0 where it is not known.
    known : (P, H, W) bool
        Where it is known: other pixels count in neither.

    Returns
    -------
    (P, M) float
    """
    wanted, counted = target[:, None].expand_as(logits), known[:, None]
    logits = torch.where(counted, logits, -_CERTAIN)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum((-2, -1))
    entropy = entropy / counted.sum((-2, -1)).clamp(min=1)
    return 4 * entropy + soft_dice(logits, wanted)
