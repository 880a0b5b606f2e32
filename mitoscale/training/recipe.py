"""The recipes of the embedded weights: which volumes, which network, how many steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mitoscale.nets import sam, unet
from mitoscale.nets.checkpoint import WeightsCard, save_weights
from mitoscale.ops.phantom import make_phantom
from mitoscale.training import sam as sam_training
from mitoscale.training import unet as unet_training
from mitoscale.training.loop import Progress, Schedule, Task, train
from mitoscale.training.samples import Annotated

PHANTOM_SHARE = 0.35
"""Part of the crops that is drawn from phantoms."""

PHANTOM_SEEDS = range(1000, 2000)
"""Seeds of training phantoms; the demo and the tests use others."""


def training_phantoms(count: int, share: float = PHANTOM_SHARE) -> list[Annotated]:
    """Phantoms to train on beside real volumes.

    Parameters
    ----------
    count : int
        How many, with seeds from :data:`PHANTOM_SEEDS`.
    share : float
        Their part of the crops in all, where the real volumes' parts add up to ``1 - share``.
    """
    phantoms = [make_phantom((48, 256, 256), objects=32, seed=s, touching=0.5) for s in PHANTOM_SEEDS[:count]]
    return [
        Annotated(image=p.image, labels=p.labels.astype("int32"), spacing=p.spacing, share=share / count)
        for p in phantoms
    ]


def train_weights(
    architecture: str,
    preset: str,
    volumes: Sequence[Annotated],
    tuning: Annotated | None,
    out: Path,
    *,
    steps: int,
    record: dict[str, object],
    report: Callable[[Progress], None],
    seed: int = 0,
) -> None:
    """Train a network from scratch and write its weights.

    Parameters
    ----------
    architecture : {"unet", "sam"}
        Which network.
    preset : str
        A name in the network's ``PRESETS``.
    volumes : sequence of Annotated
        What to train on.
    tuning : Annotated or None
        What to score on to keep the best weights.
    out : Path
        The safetensors file to write; a checkpoint lies beside it until training is done.
    steps : int
        Optimiser steps.
    record : dict
        Data and split, kept in the file's header.
    report : callable
        Called at each score.
    seed : int
        Seed of first weights and crops.
    """
    torch.manual_seed(seed)
    task: Task
    if architecture == "unet":
        config = unet.PRESETS[preset]
        task = unet_training.UNetTask(unet.UNet(config), list(volumes), tuning, seed=seed)
        schedule, pixel_nm = Schedule(steps=steps, learning_rate=2e-3), unet_training.PIXEL_NM
    else:
        config = sam.PRESETS[preset]
        task = sam_training.SamTask(sam.Sam(config), list(volumes), tuning, seed=seed)
        schedule, pixel_nm = Schedule(steps=steps, learning_rate=8e-4, weight_decay=0.05), sam_training.PIXEL_NM
    checkpoint = out.with_suffix(".checkpoint")
    seen: list[Progress] = []

    def keep(progress: Progress) -> None:
        seen.append(progress)
        report(progress)

    model = train(task, schedule, checkpoint, keep)
    training = {
        **record,
        "preset": preset,
        "steps": steps,
        "seed": seed,
        "seconds": round(seen[-1].seconds) if seen else None,
        "tuning_score": round(seen[-1].best, 4) if seen else None,
    }
    card = WeightsCard(architecture=architecture, config=config.model_dump(), pixel_nm=pixel_nm, training=training)
    save_weights(out, model, card)
    checkpoint.unlink(missing_ok=True)
