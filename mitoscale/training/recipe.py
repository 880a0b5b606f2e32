"""The recipes of the embedded weights: which volumes, which network, how many steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from mitoscale.core.errors import InputError
from mitoscale.nets import sam, unet
from mitoscale.nets.checkpoint import WeightsCard, load_sam, load_unet, save_weights
from mitoscale.ops.phantom import make_phantom
from mitoscale.training import sam as sam_training
from mitoscale.training import unet as unet_training
from mitoscale.training.loop import Progress, Schedule, Task, train
from mitoscale.training.samples import Annotated

Network = TypeVar("Network", unet.UNet, sam.Sam)

PHANTOM_SEEDS = range(1000, 2000)
"""Seeds of training phantoms; the demo and the tests use others."""


def training_phantoms(count: int, share: float) -> list[Annotated]:
    """Phantoms to train on beside real volumes.

    Parameters
    ----------
    count : int
        How many, with seeds from :data:`PHANTOM_SEEDS`.
    share : float
        Their part of the crops in all, where the real volumes' parts add up to ``1 - share``.
    """
    phantoms = [make_phantom((48, 256, 256), objects=32, seed=s, touching=0.5) for s in PHANTOM_SEEDS[:count]]
    return [Annotated(image=p.image, labels=p.labels.astype("int32"), spacing=p.spacing, share=share / count) for p in phantoms]


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
    init: str | None = None,
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
    init : str, optional
        Weights to start from, by name or path; they must be of the same architecture.

    Raises
    ------
    InputError
        If ``init`` cannot be read or is of another architecture.
    """
    torch.manual_seed(seed)
    task: Task
    if architecture == "unet":
        unet_config = unet.PRESETS[preset]
        config = unet_config.model_dump()
        model = _started(unet.UNet(unet_config), init)
        shown = [unet_training.with_mistakes(model, v) for v in volumes] if init else list(volumes)
        task = unet_training.UNetTask(model, shown, tuning, seed=seed)
        schedule, pixel_nm = Schedule(steps=steps, learning_rate=1e-3 if init else 2e-3), unet_training.PIXEL_NM
    else:
        sam_config = sam.PRESETS[preset]
        config = sam_config.model_dump()
        task = sam_training.SamTask(_started(sam.Sam(sam_config), init), list(volumes), tuning, seed=seed)
        schedule, pixel_nm = Schedule(steps=steps, learning_rate=8e-4, weight_decay=0.05), sam_training.PIXEL_NM
    checkpoint = out.with_suffix(".checkpoint")
    seen: list[Progress] = []

    def keep(progress: Progress) -> None:
        seen.append(progress)
        report(progress)

    trained = train(task, schedule, checkpoint, keep)
    training = {
        **record,
        "preset": preset,
        "steps": steps,
        "seed": seed,
        "init": _described(architecture, init) if init else "",
        "seconds": round(seen[-1].seconds) if seen else None,
        "tuning_score": round(seen[-1].best, 4) if seen else None,
    }
    card = WeightsCard(architecture=architecture, config=config, pixel_nm=pixel_nm, training=training)
    save_weights(out, trained, card)
    checkpoint.unlink(missing_ok=True)


def _started(model: Network, init: str | None) -> Network:
    """The model, with the weights of ``init`` where that is given."""
    if init is None:
        return model
    loaded = load_unet(init)[0] if isinstance(model, unet.UNet) else load_sam(init)[0]
    if loaded.config != model.config:
        raise InputError(f"weights {init} have another architecture than the preset; give the preset they were trained with")
    model.load_state_dict(loaded.state_dict())
    return model


def _described(architecture: str, init: str) -> dict[str, Any]:
    """The training record of the weights that were started from."""
    card = load_unet(init)[1] if architecture == "unet" else load_sam(init)[1]
    return card.training
