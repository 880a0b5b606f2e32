"""The one training loop: steps, learning-rate schedule, averaged weights, validation, checkpoints, exact resume.

A model is given as a task: how to make a batch, its loss, and its score on the tuning slices. The loop knows nothing else of it.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from mitoscale.core.errors import InputError
from mitoscale.training.checkpoint import Progress, TrainingState, load, save


class Task(Protocol):
    """What the loop trains."""

    model: nn.Module

    def loss(self, step: int) -> torch.Tensor:
        """The loss of the batch of a step, counted from 0: a scalar, the same for the same step and model."""

    def score(self, model: nn.Module) -> dict[str, float]:
        """Scores of ``model`` on slices that are not trained on.

        The first one chooses the weights that are kept, larger is better; without any the last weights are kept.
        """


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    """Optimiser steps in all."""
    learning_rate: float = 1e-3
    """Peak learning rate; warmed up over the first 5 % and lowered along a cosine."""
    weight_decay: float = 1e-2
    """AdamW's weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    average: float = 0.99
    """Decay of the running average of the weights that is scored and kept; 0: the weights themselves."""
    score_every: int = 100
    """Steps between two scores, each with a checkpoint."""
    keep_every: float = 30.0
    """Seconds after which there is a checkpoint between two scores: so much is lost at most where training is stopped."""
    plain: bool = False
    """Adam at a constant rate without weight decay and without a cut gradient: the origin reports' recipe."""
    patience: int | None = None
    """Stop early after so many scores without a new best one."""

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        if self.plain:
            return self.learning_rate
        warm = max(1, self.steps // 20)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of what is not frozen."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        if self.plain:
            return torch.optim.Adam(parameters, lr=0.0)
        return torch.optim.AdamW(parameters, lr=0.0, weight_decay=self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The trained weights and their history."""

    model: nn.Module
    """With the best-scored averaged weights."""
    history: list[Progress]
    """All reports, over all resumptions."""


class LossError(InputError):
    """The loss is not finite any more.

    Parameters
    ----------
    message : str
        What happened, where.
    trained : Trained or None
        What was good before; None before the first score.
    """

    def __init__(self, message: str, trained: Trained | None) -> None:
        super().__init__(message)
        self.trained = trained


def train(task: Task, schedule: Schedule, checkpoint: Path, report: Callable[[Progress], None], token: str = "") -> Trained:
    """Train, and keep the best-scored averaged weights.

    Parameters
    ----------
    task : Task
        Model, batches, loss and score.
    schedule : Schedule
        Steps and rates.
    checkpoint : Path
        Written atomically at each score and between them; where it exists, training goes on from it.
    report : callable
        Called at each score.
    token : str
        Stands for all settings and data: a checkpoint with another one is refused.

    Raises
    ------
    LossError
        If the loss is not finite; the checkpoint then holds the last good state.
    InputError
        If the checkpoint is damaged, or of another network or other settings.
    StoppedError
        If the checkpoint cannot be written.
    """
    averaged = copy.deepcopy(task.model).eval()
    optimiser = schedule.optimiser(task.model)
    training_state = TrainingState(best_state=averaged.state_dict())
    if checkpoint.exists():
        state, training_state = load(checkpoint, task.model, token)
        task.model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["torch_random"])
    started = time.monotonic() - training_state.seconds
    kept = time.monotonic()
    while training_state.step < schedule.steps and not _stale(training_state.history, schedule.patience):
        loss = _learn(task, schedule, optimiser, training_state.step)
        if not math.isfinite(loss):
            averaged.load_state_dict(training_state.best_state)
            raise LossError(
                f"training: the loss became {loss} at step {training_state.step} of {schedule.steps} (learning rate "
                f"{schedule.rate(training_state.step):.2g}); "
                + (f"the last good state is in {checkpoint}" if checkpoint.exists() else "nothing was kept"),
                Trained(model=averaged, history=training_state.history) if training_state.history else None,
            )
        training_state.step += 1
        training_state.losses.append(loss)
        _average(averaged, task.model, min(schedule.average, training_state.step / (training_state.step + 10)))
        scored = training_state.step % schedule.score_every == 0 or training_state.step == schedule.steps
        if scored:
            scores = {name: float(value) for name, value in task.score(averaged).items()}
            score = next(iter(scores.values()), 0.0)
            if score >= training_state.best:
                training_state.best, training_state.best_state = score, copy.deepcopy(averaged.state_dict())
        training_state.seconds = time.monotonic() - started
        if scored:
            training_state.history.append(
                Progress(
                    step=training_state.step,
                    steps=schedule.steps,
                    loss=sum(training_state.losses) / len(training_state.losses),
                    score=score,
                    best=training_state.best,
                    seconds=training_state.seconds,
                    rate=schedule.rate(training_state.step - 1),
                    scores=scores,
                )
            )
            training_state.losses.clear()
        if (scored or time.monotonic() - kept >= schedule.keep_every) and _is_finite(task.model):
            state = {
                "model": task.model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "torch_random": torch.get_rng_state(),
                "standing": {**vars(training_state), "history": [asdict(h) for h in training_state.history]},
                "token": token,
            }
            save(state, checkpoint)
            kept = time.monotonic()
        if scored:
            report(training_state.history[-1])
    averaged.load_state_dict(training_state.best_state)
    return Trained(model=averaged, history=training_state.history)


def _learn(task: Task, schedule: Schedule, optimiser: torch.optim.Optimizer, step: int) -> float:
    """Do a step unless its loss is not finite; give the loss."""
    for group in optimiser.param_groups:
        group["lr"] = schedule.rate(step)
    task.model.train()
    loss = task.loss(step)
    if torch.isfinite(loss):
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if not schedule.plain:
            nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimiser.step()
    return float(loss.detach())


def _stale(history: list[Progress], patience: int | None) -> bool:
    """Whether the last ``patience`` scores were no better than one before them."""
    if patience is None or len(history) <= patience or not history[-1].scores:
        return False
    return max(h.score for h in history[-patience:]) <= max(h.score for h in history[:-patience])


def _is_finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())


def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mean, value in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
