"""A recipe becomes weights in a file, with the record of how they were trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from mitoscale.core.errors import InputError, NoGainError
from mitoscale.core.training_settings import LearnSettings, TrainSettings
from mitoscale.nets.checkpoint import WeightsCard, save_weights
from mitoscale.training.checkpoint import Progress
from mitoscale.training.loop import LossError, Schedule, Task, Trained, train
from mitoscale.training.recipe import Plan, described, started
from mitoscale.training.weight_averaging import blended


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
            "init": described(settings.model, settings.init) if settings.init else "",
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
    start = started(copy.deepcopy(trained.model), settings.init)  # type: ignore[type-var]
    model = blended(trained.model, start.to(where), settings.keep_init)
    scores = plan.task.score(model)
    score = next(iter(scores.values()), 0.0)
    last = replace(trained.history[-1], score=score, best=score, scores=scores)
    report(last)
    return Trained(model=model, history=[*trained.history, last])
