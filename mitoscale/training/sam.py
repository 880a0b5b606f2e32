"""Training a small SAM from scratch: windows with mitochondria, prompts simulated from truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mitoscale.core.errors import InputError
from mitoscale.nets.device import autocast, device
from mitoscale.nets.sam import Sam
from mitoscale.training.detected_prompts import WINDOW_PIXEL_NM, DetectedPrompts
from mitoscale.training.patches import profiles_of
from mitoscale.training.prefetch import Prefetcher, numbered
from mitoscale.training.prompted_targets import prompted_loss, targets_of, true_ious
from mitoscale.training.prompts import Prompted, simulate
from mitoscale.training.samples import Annotated, CropSampler

PIXEL_NM = WINDOW_PIXEL_NM
"""Pixel size the small SAM works at."""

_TRIES = 100
"""Crops looked at for one with a profile to ask for."""

_DETECTED_SHARE = 0.5
"""Part of the windows that have a U-Net's prompts, where one is given."""

_BODIES = 0.3
"""Chance of a drawn dark body, and then of another one, in crops of which a U-Net's prompts are wanted: it mistakes many."""

_LOSS_SIZE = 128
"""Height and width masks are compared at."""


class PromptedWindows:
    """Windows and the prompts for them by number: what the processes that make them need to know.

    Parameters
    ----------
    sampler : CropSampler
        Draws the windows.
    prompts : int
        Prompts a window.
    seed : int
        Another seed gives other windows.
    detected : DetectedPrompts, optional
        Half of the windows have its prompts, where it would ask for any, and the sampler draws the slices it sees.
    """

    def __init__(self, sampler: CropSampler, prompts: int, seed: int, detected: DetectedPrompts | None = None) -> None:
        self.sampler = sampler
        self.prompts = prompts
        self.seed = seed
        self.detected = detected

    def __getitem__(self, number: int) -> tuple[np.ndarray, Prompted] | None:
        rng = np.random.default_rng([self.seed, number])
        for _ in range(_TRIES):
            crop = self.sampler.draw(rng)
            profiles, prompted = profiles_of(crop.labels), None
            if self.detected is not None and rng.random() < _DETECTED_SHARE:
                prompted = self.detected.ask(crop.image, profiles, self.prompts, rng)
            prompted = prompted or simulate(profiles, self.prompts, rng)
            if prompted is not None:
                return crop.image[0 if self.detected is None else self.detected.middle], prompted
        return None


class SamTask:
    """What the loop needs to train a SAM.

    Parameters
    ----------
    model : Sam
        The network.
    volumes : list of Annotated
        What to train on.
    tuning : sequence of Annotated
        What to score on; may be empty.
    batch : int
        Windows a step.
    prompts : int
        Prompts a window.
    varied : float
        See :class:`~mitoscale.training.samples.CropSampler`.
    prompts_of : str or None
        A U-Net, by name or path, whose prompts half of the windows have, mistakes included.
    seed : int
        Seed of windows and prompts.
    processes : int
        See :class:`~mitoscale.training.prefetch.Prefetcher`.
    """

    def __init__(
        self,
        model: Sam,
        volumes: list[Annotated],
        tuning: Sequence[Annotated],
        *,
        batch: int = 12,
        prompts: int = 6,
        varied: float = 0.0,
        prompts_of: str | None = None,
        seed: int = 0,
        processes: int = 0,
    ) -> None:
        self.model: nn.Module = model.to(device())
        size = model.config.image_size
        detected = None if prompts_of is None else DetectedPrompts(prompts_of, PIXEL_NM)
        sampler = CropSampler(
            volumes,
            size=size,
            pixel_nm=PIXEL_NM,
            context_nm=(0.0,) if detected is None else detected.context_nm,
            object_share=0.95 if detected is None else 0.85,
            bodies=0.0 if detected is None else _BODIES,
            varied=varied,
        )
        self.windows = Prefetcher(PromptedWindows(sampler, prompts, seed, detected), numbered(batch), processes)
        fixed = {volume.name: _fixed_windows(volume, size, 48) for volume in tuning}
        self.tuning = {name: windows for name, windows in fixed.items() if windows}

    def loss(self, step: int) -> torch.Tensor:
        """See :class:`mitoscale.training.loop.Task`."""
        made = [sample for sample in self.windows.of(step) if sample is not None]
        if not made:
            raise InputError("training: no crop holds a profile large enough to be asked for; train on larger mitochondria")
        windows, prompted = zip(*made, strict=True)
        masks, ious, target, known = _forward(self.model, windows, prompted)
        return prompted_loss(masks, ious, target, known)

    def score(self, model: nn.Module) -> dict[str, float]:
        """Mean of box IoU and point IoU over fixed tuning windows, centre points and exact boxes; then these two.

        With several volumes, means in which each counts alike, and then each volume's.
        """
        each = {name: _scores(model, windows) for name, windows in self.tuning.items()}
        if len(each) < 2:
            return next(iter(each.values()), {})
        mean = {name: float(np.mean([scores[name] for scores in each.values()])) for name in ("score", "box_iou", "point_iou")}
        return mean | {f"score_{name}": scores["score"] for name, scores in each.items()}


def _scores(model: nn.Module, fixed: Sequence[tuple[np.ndarray, dict[str, Prompted]]]) -> dict[str, float]:
    """Of one volume's windows."""
    found: dict[str, float] = {}
    for kind in ("box", "point"):
        windows, prompted = zip(*((w, p[kind]) for w, p in fixed), strict=True)
        values = []
        for start in range(0, len(windows), 16):
            part = slice(start, start + 16)
            with torch.no_grad():
                masks, ious, target, known = _forward(model, windows[part], prompted[part])
            chosen = torch.zeros_like(ious[:, 0], dtype=torch.long) if kind == "box" else ious[:, 1:].argmax(1) + 1
            values.append(true_ious(masks[torch.arange(len(masks)), chosen][:, None], target, known)[:, 0])
        found[f"{kind}_iou"] = float(torch.cat(values).mean())
    return {"score": (found["box_iou"] + found["point_iou"]) / 2, **found}


def _forward(
    model: nn.Module, windows: Sequence[np.ndarray], prompted: Sequence[Prompted]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(P, 4, L, L) logits, (P, 4) predicted IoUs, (P, L, L) targets and where they are known, for all prompts of all windows."""
    assert isinstance(model, Sam)
    where = next(model.parameters()).device
    which = torch.cat([torch.full((len(p.masks),), i) for i, p in enumerate(prompted)]).to(where)
    points = torch.from_numpy(np.concatenate([p.points for p in prompted])).to(where)
    meaning = torch.from_numpy(np.concatenate([p.meaning for p in prompted])).to(where)
    with autocast(where):
        embeddings = model.encode(torch.from_numpy(np.stack(windows)).to(where).float())
        masks, ious = model.decode(embeddings, which, points, meaning)
    masks = functional.interpolate(masks.float(), (_LOSS_SIZE, _LOSS_SIZE), mode="bilinear", align_corners=False)
    return masks, ious.float(), *targets_of(prompted, _LOSS_SIZE, where)


def _fixed_windows(volume: Annotated, size: int, count: int) -> list[tuple[np.ndarray, dict[str, Prompted]]]:
    """Windows around profiles at the pixel size SAM works at, each with its box and its point prompts."""
    sampler = CropSampler([volume], size=size, pixel_nm=PIXEL_NM, context_nm=(0.0,), scale=(1.0, 1.0), object_share=1.0)
    rng = np.random.default_rng(1)
    chosen: list[tuple[np.ndarray, dict[str, Prompted]]] = []
    for _ in range(100 * count):
        if len(chosen) == count:
            break
        crop = sampler.draw(rng)
        profiles = profiles_of(crop.labels)
        box, point = (simulate(profiles, 4, rng, kind=k) for k in ("box", "point"))
        if box is not None and point is not None:
            chosen.append((crop.image[0], {"box": box, "point": point}))
    return chosen
