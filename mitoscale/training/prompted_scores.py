"""How well a mask decoder answers points and boxes, apart: the figures before and after fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mitoscale.nets.device import autocast
from mitoscale.training.prompts import Prompted, simulate
from mitoscale.training.window_set import WindowSet

KINDS = {"point": "centroid", "box": "jittered box"}
"""Names in the scores, and the prompts they stand for."""

DEFINITION = (
    "each profile of the truth of at least 150 pixels in a window is asked for once by a point (its centroid, or its innermost "
    "pixel where the centroid lies outside; of three masks the one with the best predicted IoU) and once by a jittered box "
    "(each corner moved by a normal distance of 8% of the side, at most 16 px; the single mask); mean over profiles, "
    "where the truth is annotated"
)
"""What the scores mean, for people."""

_PROMPTS = 64
"""Prompts decoded at once."""


def prompted_scores(model: nn.Module, windows: WindowSet, seed: int = 0) -> dict[str, float]:
    """Mean Dice and IoU over all profiles of all windows; see :data:`DEFINITION`.

    Parameters
    ----------
    model : Decoder
        Gives masks for embeddings and prompts.
    windows : WindowSet
        Embeddings and truth.
    seed : int
        Seed of the jitter: the same for all models that are compared.

    Returns
    -------
    dict
        ``point_iou``, ``point_dice``, ``box_iou``, ``box_dice``, each 0..1, and ``profiles``, their number.
    """
    rng = np.random.default_rng(seed)
    overlaps: dict[str, list[np.ndarray]] = {name: [] for name in KINDS}
    for group in _groups(windows):
        embeddings = windows.embeddings(group)
        for name, kind in KINDS.items():
            prompted = [simulate(windows.profiles(i), _PROMPTS, rng, kind=kind) for i in group]
            overlaps[name].append(_overlaps(model, embeddings, [p for p in prompted if p is not None], single=name == "box"))
    scores: dict[str, float] = {}
    for name, found in overlaps.items():
        iou = np.concatenate(found)
        scores |= {f"{name}_iou": float(iou.mean()), f"{name}_dice": float((2 * iou / (1 + iou)).mean())}
    return scores | {"profiles": float(len(iou))}


def score_of(scores: Mapping[str, float]) -> float:
    """The one figure that chooses weights: the mean of point and box IoU."""
    return (scores["point_iou"] + scores["box_iou"]) / 2


def mean_scores(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The scores of several volumes as one: their mean, in which each volume counts alike; profiles are added up.

    Parameters
    ----------
    each : sequence of mapping
        From :func:`prompted_scores`, one a volume.
    """
    mean = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    return mean | {"profiles": sum(one["profiles"] for one in each)}


def _groups(windows: WindowSet, count: int = 8) -> Iterator[list[int]]:
    """Numbers of the windows, a few at a time."""
    for start in range(0, len(windows), count):
        yield list(range(start, min(start + count, len(windows))))


def _overlaps(model: nn.Module, embeddings: torch.Tensor, prompted: list[Prompted], single: bool) -> np.ndarray:
    """(P,) IoU of each answer, at the window's own pixels, over those that are annotated."""
    where = next(model.parameters()).device
    which = np.concatenate([np.full(len(p.masks), i) for i, p in enumerate(prompted)])
    points, meaning, masks = (np.concatenate([getattr(p, n) for p in prompted]) for n in ("points", "meaning", "masks"))
    known = np.stack([p.known for p in prompted])
    found = []
    with torch.inference_mode():
        held = embeddings.to(where).float()
        for start in range(0, len(masks), _PROMPTS):
            part = slice(start, start + _PROMPTS)
            with autocast(where):
                logits, ious = model(held, *(torch.from_numpy(a[part]).to(where) for a in (which, points, meaning)))
            best = torch.zeros(len(logits), dtype=torch.long) if single else ious[:, 1:].float().argmax(1).cpu() + 1
            chosen = logits[torch.arange(len(logits)), best.to(where)].float()
            full = functional.interpolate(chosen[:, None], masks.shape[-2:], mode="bilinear", align_corners=False)[:, 0] > 0
            truth = torch.from_numpy(masks[part]).to(where)
            full &= torch.from_numpy(known[which[part]]).to(where)
            both, either = (full & truth).sum((-2, -1)), (full | truth).sum((-2, -1))
            found.append((both / either.clamp(min=1)).cpu().numpy())
    return np.concatenate(found)
