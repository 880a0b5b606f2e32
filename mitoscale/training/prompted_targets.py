"""What a SAM should answer to prompts, and how far an answer is right; what nobody has annotated counts for nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from mitoscale.training.losses import mask_losses
from mitoscale.training.prompts import Prompted


def targets_of(prompted: Sequence[Prompted], size: int, where: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The wanted masks of all prompts of several windows, at the size they are compared at.

    Parameters
    ----------
    prompted : sequence of Prompted
        One a window.
    size : int
        Height and width.
    where : torch device
        Where they go.

    Returns
    -------
    target : (P, size, size) float
        The wanted probability 0..1; 0 where it is not known.
    known : (P, size, size) bool
        Where all pixels of the window are annotated.
    """
    masks = torch.from_numpy(np.concatenate([p.masks for p in prompted])).float().to(where)
    unknown = torch.from_numpy(np.stack([~p.known for p in prompted])).float().to(where)
    known = functional.adaptive_max_pool2d(unknown[:, None], size)[:, 0] == 0
    counts = torch.tensor([len(p.masks) for p in prompted], device=where)
    known = known.repeat_interleave(counts, dim=0)
    return functional.adaptive_avg_pool2d(masks[:, None], size)[:, 0] * known, known


def true_ious(masks: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(P, M) IoU of each mask with what was wanted, over what is known.

    Parameters
    ----------
    masks : (P, M, H, W) float
        Logits.
    target : (P, H, W) float
        The wanted probability.
    known : (P, H, W) bool
        Where it is known.
    """
    inside, wanted = (masks > 0) & known[:, None], (target > 0.5)[:, None]
    return (inside & wanted).sum((-2, -1)) / (inside | wanted).sum((-2, -1)).clamp(min=1)


def prompted_loss(
    masks: torch.Tensor, ious: torch.Tensor, target: torch.Tensor, known: torch.Tensor, *, scored: bool = True
) -> torch.Tensor:
    """Loss of the single mask, the best ambiguity mask, and the predicted IoUs.

    A prompt where there is nothing has no right mask: it teaches the predicted IoU alone.

    Parameters
    ----------
    masks : (P, M, H, W) float
        Logits; the first is the single mask.
    ious : (P, M) float
        Predicted IoU of each.
    target : (P, H, W) float
        The wanted probability; all 0 where there is nothing.
    known : (P, H, W) bool
        Where it is known.
    scored : bool
        Whether the predicted IoUs count.

    Returns
    -------
    () float
    """
    real = target.flatten(1).any(dim=1)
    losses = mask_losses(masks[real], target[real], known[real])
    loss = (losses[:, 0] + losses[:, 1:].min(dim=1).values).mean() if bool(real.any()) else masks.sum() * 0
    if not scored:
        return loss
    with torch.no_grad():
        true = true_ious(masks, target, known)
    return loss + functional.mse_loss(ious, true)
