"""The one training loop: steps, learning-rate schedule, averaged weights, validation, checkpoints, exact resume.

A model is given as a task: how to make a batch, its loss, and its score on the tuning slices. The loop knows nothing else of it.
"""

from __future__ import annotations

import copy
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from mitoscale.core.errors import InputError
from mitoscale.storage.atomic import replacing


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
    """Steps between two scores and checkpoints."""
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
class Progress:
    """What the loop reports at each score."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    loss: float
    """Mean loss since the last report."""
    score: float
    """Score of the averaged weights."""
    best: float
    """Best score so far."""
    seconds: float
    """Training time so far, over all resumptions."""
    rate: float
    """Learning rate of the last step."""
    scores: dict[str, float]
    """All that the task scored."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training made."""

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
        Written atomically at each score; where it exists, training goes on from it.
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
    optimiser = schedule.optimiser(task.model)
    averaged = copy.deepcopy(task.model).eval()
    step, best, best_state, spent = 0, -math.inf, averaged.state_dict(), 0.0
    history: list[Progress] = []
    if checkpoint.exists():
        state = _load(checkpoint, task.model, token)
        task.model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["torch_random"])
        step, best, best_state, spent = state["step"], state["best"], state["best_state"], state["seconds"]
        history = [Progress(**h) for h in state["history"]]
    losses: list[float] = []
    started = time.monotonic() - spent
    while step < schedule.steps and not _stale(history, schedule.patience):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        task.model.train()
        loss = task.loss(step)
        if not torch.isfinite(loss):
            averaged.load_state_dict(best_state)
            raise LossError(
                f"training: the loss became {loss.item()} at step {step} of {schedule.steps} (learning rate "
                f"{schedule.rate(step):.2g}); " + (f"the last good state is in {checkpoint}" if history else "nothing was kept"),
                Trained(model=averaged, history=history) if history else None,
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if not schedule.plain:
            nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimiser.step()
        step += 1
        losses.append(float(loss.detach()))
        _average(averaged, task.model, min(schedule.average, step / (step + 10)))
        if step % schedule.score_every == 0 or step == schedule.steps:
            scores = task.score(averaged)
            score = next(iter(scores.values()), 0.0)
            if score >= best:
                best, best_state = score, copy.deepcopy(averaged.state_dict())
            seconds = time.monotonic() - started
            progress = Progress(
                step=step,
                steps=schedule.steps,
                loss=sum(losses) / len(losses),
                score=score,
                best=best,
                seconds=seconds,
                rate=schedule.rate(step - 1),
                scores=scores,
            )
            history.append(progress)
            state = {
                "model": task.model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "torch_random": torch.get_rng_state(),
                "step": step,
                "best": best,
                "best_state": best_state,
                "seconds": seconds,
                "history": [asdict(h) for h in history],
                "token": token,
            }
            _save(state, checkpoint)
            report(progress)
            losses.clear()
    averaged.load_state_dict(best_state)
    return Trained(model=averaged, history=history)


def _stale(history: list[Progress], patience: int | None) -> bool:
    """Whether the last ``patience`` scores were no better than one before them."""
    if patience is None or len(history) <= patience or not history[-1].scores:
        return False
    return max(h.score for h in history[-patience:]) <= max(h.score for h in history[:-patience])


def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mean, value in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def _load(path: Path, model: nn.Module, token: str) -> dict[str, Any]:
    """The state in a checkpoint of the same network and settings, on the model's device.

    Raises
    ------
    InputError
        If it is damaged, of another network, or of other settings.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=False, map_location="cpu")
        shapes = {name: value.shape for name, value in state["model"].items()}
        known = state["token"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"checkpoint {path} is damaged ({type(error).__name__}); delete it to start anew") from error
    if shapes != {name: value.shape for name, value in model.state_dict().items()}:
        raise InputError(f"checkpoint {path} is of another network; delete it to start anew, or give another --out")
    if known != token:
        raise InputError(f"checkpoint {path} is of other settings or data; delete it to start anew, or give another --out")
    return state


def _save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint: whole, or not at all.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    with replacing(str(path)) as part:
        try:
            torch.save(state, part)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(str(error).splitlines()[0]) from error
