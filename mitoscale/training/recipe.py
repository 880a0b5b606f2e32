"""The recipes: which network, which crops, how many steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from mitoscale.core.errors import InputError
from mitoscale.core.training_settings import TrainSettings
from mitoscale.nets import sam, unet
from mitoscale.nets.checkpoint import load_sam, load_unet
from mitoscale.training import origin_report_unet
from mitoscale.training import sam as sam_training
from mitoscale.training import unet as unet_training
from mitoscale.training.drawn import with_drawn
from mitoscale.training.loop import Schedule, Task
from mitoscale.training.prefetch import spare_processes
from mitoscale.training.samples import Annotated

Network = TypeVar("Network", unet.UNet, sam.Sam)

REPORT_EPOCHS = 20
"""Epochs of the first origin report."""

_STEPS = 1000
_BATCH = {"unet": 8, "sam": 12, "report": 16}
_CROP = 512
_PATIENCE = 10


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one training will do."""

    task: Task
    """Model, batches and scores."""
    schedule: Schedule
    """Steps and rates."""
    pixel_nm: float | tuple[float, float]
    """Pixel size the network works at."""
    batch: int
    """Samples a step."""
    config: dict[str, Any]
    """The network's architecture."""


def plan_training(settings: TrainSettings, learnt: list[Annotated], tuning: list[Annotated]) -> Plan:
    """Model, batches and schedule of a training.

    Parameters
    ----------
    settings : TrainSettings
        What is wanted.
    learnt : list of Annotated
        What to train on.
    tuning : list of Annotated
        What to score on to keep the best weights; may be empty.

    Raises
    ------
    InputError
        If ``init`` cannot be read or is of another architecture.
    """
    torch.manual_seed(settings.seed)
    if settings.preset == "report":
        return _report_plan(settings, learnt[0], tuning[0] if tuning else None)
    volumes = with_drawn(settings, learnt)
    batch = settings.batch or _BATCH[settings.model]
    patience = _PATIENCE if settings.patience is None else settings.patience or None
    steps = settings.steps or _STEPS
    processes = spare_processes(settings.threads)
    if settings.model == "sam":
        sam_config = sam.PRESETS["small"]
        model = started(sam.Sam(sam_config), settings.init)
        return Plan(
            task=sam_training.SamTask(
                model,
                volumes,
                tuning,
                batch=batch,
                varied=settings.varied,
                prompts_of=settings.prompts_of,
                seed=settings.seed,
                processes=processes,
            ),
            schedule=Schedule(steps=steps, learning_rate=settings.learning_rate or 8e-4, weight_decay=0.05, patience=patience),
            pixel_nm=sam_training.PIXEL_NM,
            batch=batch,
            config=sam_config.model_dump(),
        )
    unet_config = unet.PRESETS["small"]
    network = started(unet.UNet(unet_config), settings.init)
    looked = settings.init is not None and settings.mistakes
    shown = [unet_training.with_mistakes(network, v) if looked and v.share else v for v in volumes]
    rate = settings.learning_rate or (1e-3 if settings.init else 2e-3)
    return Plan(
        task=unet_training.UNetTask(
            network,
            shown,
            tuning,
            batch=batch,
            size=settings.crop or _CROP,
            varied=settings.varied,
            seed=settings.seed,
            processes=processes,
        ),
        schedule=Schedule(steps=steps, learning_rate=rate, patience=patience),
        pixel_nm=unet_training.pixel_size(unet_config),
        batch=batch,
        config=unet_config.model_dump(),
    )


def _report_plan(settings: TrainSettings, volume: Annotated, tuning: Annotated | None) -> Plan:
    config = unet.PRESETS["report"]
    model = unet.UNet(config)
    origin_report_unet.initialise(model, settings.seed)
    batch = settings.batch or _BATCH["report"]
    task = origin_report_unet.ReportTask(started(model, settings.init), volume, tuning, batch=batch, seed=settings.seed)
    schedule = Schedule(
        steps=settings.steps or REPORT_EPOCHS * task.epoch_steps,
        learning_rate=settings.learning_rate or 1e-3,
        average=0.0,
        score_every=task.epoch_steps,
        plain=True,
        patience=settings.patience or None,
    )
    pixel_nm = origin_report_unet.report_pixels(volume.image.shape, volume.spacing)
    return Plan(task=task, schedule=schedule, pixel_nm=pixel_nm, batch=batch, config=config.model_dump())


def started(model: Network, init: str | None) -> Network:
    """The model, with the weights of ``init`` where that is given.

    Parameters
    ----------
    model : UNet or Sam
        Its parameters are replaced.
    init : str or None
        Name or path of weights.

    Raises
    ------
    InputError
        If they are of another architecture.
    """
    if init is None:
        return model
    loaded = load_unet(init)[0] if isinstance(model, unet.UNet) else load_sam(init)[0]
    if isinstance(loaded, unet.UNet) and isinstance(model, unet.UNet) and loaded.config.fold == 1:
        loaded = unet.folded(loaded, model.config.fold)
    if loaded.config != model.config:
        raise InputError(f"weights {init} have another architecture than the preset; give the preset they were trained with")
    model.load_state_dict(loaded.state_dict())
    return model


def described(architecture: str, init: str) -> dict[str, Any]:
    """The training record of the weights that were started from.

    Parameters
    ----------
    architecture : str
        ``unet`` or ``sam``.
    init : str
        Name or path of the weights.
    """
    card = load_unet(init)[1] if architecture == "unet" else load_sam(init)[1]
    return card.training
