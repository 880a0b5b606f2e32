"""The recipes: which network, which crops, how many steps; and the weights that come out, with their record."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from mitoscale.core.errors import InputError
from mitoscale.core.training_settings import LearnSettings, TrainSettings
from mitoscale.nets import sam, unet
from mitoscale.nets.checkpoint import WeightsCard, load_sam, load_unet, save_weights
from mitoscale.ops.phantom import make_phantom
from mitoscale.training import origin_report_unet
from mitoscale.training import sam as sam_training
from mitoscale.training import unet as unet_training
from mitoscale.training.checkpoint import Progress
from mitoscale.training.loop import LossError, Schedule, Task, Trained, train
from mitoscale.training.no_gain import NoGainError
from mitoscale.training.prefetch import spare_processes, usable_processes
from mitoscale.training.samples import Annotated
from mitoscale.training.weight_averaging import blended

Network = TypeVar("Network", unet.UNet, sam.Sam)

PHANTOM_SEEDS = range(1000, 2000)
"""Seeds of training phantoms; the demo and the tests use others."""

REPORT_EPOCHS = 20
"""Epochs of the first origin report."""

_STEPS = 1000
_BATCH = {"unet": 8, "sam": 12, "report": 16}
_CROP = 512
_PATIENCE = 10


def training_phantoms(count: int, share: float, processes: int = 1) -> list[Annotated]:
    """Phantoms to train on beside real volumes.

    Parameters
    ----------
    count : int
        How many, with seeds from :data:`PHANTOM_SEEDS`.
    share : float
        Their part of the crops in all, where the real volumes' parts add up to ``1 - share``.
    processes : int
        How many are made at a time, each in a process of its own.
    """
    make = partial(make_phantom, (48, 256, 256), objects=32, touching=0.5)
    if processes > 1 and count > 1:
        with ProcessPoolExecutor(min(processes, count), multiprocessing.get_context("spawn")) as pool:
            phantoms = list(pool.map(make, PHANTOM_SEEDS[:count]))
    else:
        phantoms = [make(seed) for seed in PHANTOM_SEEDS[:count]]
    return [Annotated(image=p.image, labels=p.labels.astype("int32"), spacing=p.spacing, share=share / count) for p in phantoms]


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
    volumes = learnt
    if settings.phantoms:
        phantoms = training_phantoms(settings.phantoms, settings.phantom_share, usable_processes(settings.threads))
        real = (1 - settings.phantom_share) / sum(v.share for v in learnt)
        volumes = [*(replace(v, share=v.share * real) for v in learnt), *phantoms]
    batch = settings.batch or _BATCH[settings.model]
    patience = _PATIENCE if settings.patience is None else settings.patience or None
    steps = settings.steps or _STEPS
    processes = spare_processes(settings.threads)
    if settings.model == "sam":
        sam_config = sam.PRESETS["small"]
        model = _started(sam.Sam(sam_config), settings.init)
        return Plan(
            task=sam_training.SamTask(
                model, volumes, tuning[0] if tuning else None, batch=batch, seed=settings.seed, processes=processes
            ),
            schedule=Schedule(steps=steps, learning_rate=settings.learning_rate or 8e-4, weight_decay=0.05, patience=patience),
            pixel_nm=sam_training.PIXEL_NM,
            batch=batch,
            config=sam_config.model_dump(),
        )
    unet_config = unet.PRESETS["small"]
    network = _started(unet.UNet(unet_config), settings.init)
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
    task = origin_report_unet.ReportTask(_started(model, settings.init), volume, tuning, batch=batch, seed=settings.seed)
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


def train_weights(
    settings: TrainSettings, plan: Plan, token: str, record: dict[str, object], report: Callable[[Progress], None]
) -> Trained:
    """Train a network and write its weights.

    Parameters
    ----------
    settings : TrainSettings
        Says where the weights go; a checkpoint lies beside them until training is done.
    plan : Plan
        What to do.
    token : str
        Stands for settings and data in the checkpoint.
    record : dict
        Where the weights come from, kept in the file's header.
    report : callable
        Called at each score.

    Raises
    ------
    InputError
        If the loss is not finite any more, which leaves the best weights so far in the file; or if memory is too small.
    """
    out = Path(settings.out)
    checkpoint = out.with_suffix(".checkpoint")

    def save(trained: Trained, more: dict[str, object]) -> None:
        training = {
            **record,
            "preset": settings.preset,
            "steps": trained.history[-1].step,
            "batch": plan.batch,
            "seed": settings.seed,
            "init": _described(settings.model, settings.init) if settings.init else "",
            "seconds": round(trained.history[-1].seconds),
            "tuning_score": round(trained.history[-1].best, 4),
            **more,
        }
        card = WeightsCard(architecture=settings.model, config=plan.config, pixel_nm=plan.pixel_nm, training=training)
        save_weights(out, trained.model, card)

    trained = train_kept(settings, plan.task, plan.schedule, token, plan.batch, save, report)
    if settings.keep_init:
        trained = _blended(settings, plan, trained, report)
        save(trained, {"keep_init": settings.keep_init})
    checkpoint.unlink(missing_ok=True)
    return trained


def train_kept(
    settings: LearnSettings,
    task: Task,
    schedule: Schedule,
    token: str,
    batch: int,
    save: Callable[[Trained, dict[str, object]], None],
    report: Callable[[Progress], None],
) -> Trained:
    """Train and save; where the loss stops being finite, what was best before is saved all the same, and said.

    Parameters
    ----------
    settings : LearnSettings
        Where the weights go.
    task : Task
        What is trained.
    schedule : Schedule
        Steps and learning rates.
    token : str
        Digest of settings and data: a checkpoint of another training is not gone on with.
    batch : int
        Samples a step, named where memory runs out.
    save : callable
        Writes the weights, with further entries of their card.
    report : callable
        Called with each progress.

    Raises
    ------
    NoGainError
        If ``save`` does.
    InputError
        See :func:`train_weights`.
    """
    out = Path(settings.out)
    try:
        with memory_told(batch):
            trained = train(task, schedule, out.with_suffix(".checkpoint"), report, token)
    except LossError as error:
        cure = "look for what is wrong in the volume or the truth, or give another --out with a lower --learning-rate"
        if error.trained is None:
            raise InputError(f"{error}; {cure}") from error
        try:
            save(error.trained, {"stopped": str(error)})
        except NoGainError as useless:
            raise InputError(f"{error}; before, {useless.finding}; {cure}") from error
        raise InputError(f"{error}, the best weights before in {out}; {cure}") from error
    save(trained, {})
    return trained


@contextmanager
def memory_told(batch: int) -> Iterator[None]:
    """Say what to lower where memory does not suffice.

    Raises
    ------
    InputError
        Where torch cannot have the memory it asks for, on a GPU or not.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        free = f"; of {torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB on the GPU" if torch.cuda.is_available() else ""
        raise InputError(f"training: out of GPU memory with --batch {batch}{free}: lower --batch") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise InputError(f"training: out of memory with --batch {batch}: lower --batch") from error


def _blended(settings: TrainSettings, plan: Plan, trained: Trained, report: Callable[[Progress], None]) -> Trained:
    """What was trained, with a part of what it started from; its scores end the history."""
    where = next(trained.model.parameters()).device
    start = _started(copy.deepcopy(trained.model), settings.init)  # type: ignore[type-var]
    model = blended(trained.model, start.to(where), settings.keep_init)
    scores = plan.task.score(model)
    score = next(iter(scores.values()), 0.0)
    last = replace(trained.history[-1], score=score, best=score, scores=scores)
    report(last)
    return Trained(model=model, history=[*trained.history, last])


def _started(model: Network, init: str | None) -> Network:
    """The model, with the weights of ``init`` where that is given."""
    if init is None:
        return model
    loaded = load_unet(init)[0] if isinstance(model, unet.UNet) else load_sam(init)[0]
    if isinstance(loaded, unet.UNet) and isinstance(model, unet.UNet) and loaded.config.fold == 1:
        loaded = unet.folded(loaded, model.config.fold)
    if loaded.config != model.config:
        raise InputError(f"weights {init} have another architecture than the preset; give the preset they were trained with")
    model.load_state_dict(loaded.state_dict())
    return model


def _described(architecture: str, init: str) -> dict[str, Any]:
    """The training record of the weights that were started from."""
    card = load_unet(init)[1] if architecture == "unet" else load_sam(init)[1]
    return card.training
