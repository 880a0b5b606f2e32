"""The one training loop: steps, learning-rate schedule, averaged weights, validation, checkpoints, exact resume.

A model is given as a task: how to make a batch, its loss, and its score on the tuning slices. The loop knows nothing else of it.
"""

from __future__ import annotations

import copy
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from mitoscale.core.errors import InputError


class Task(Protocol):
    """What the loop trains."""

    model: nn.Module

    def loss(self) -> torch.Tensor:
        """The loss of a fresh batch, a scalar."""

    def score(self, model: nn.Module) -> float:
        """The score of ``model`` on slices that are not trained on; larger is better."""

    def random_state(self) -> Any:
        """The state of the task's random generator."""

    def set_random_state(self, state: Any) -> None:
        """Go on from a state that :meth:`random_state` gave."""


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
    """Decay of the running average of the weights that is scored and kept."""
    score_every: int = 100
    """Steps between two scores and checkpoints."""

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        warm = max(1, self.steps // 20)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))


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


def train(task: Task, schedule: Schedule, checkpoint: Path, report: Callable[[Progress], None]) -> nn.Module:
    """Train and return the model with the best-scored averaged weights.

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

    Raises
    ------
    InputError
        If the loss is not finite; the checkpoint then holds the last good state.
    """
    optimiser = torch.optim.AdamW(task.model.parameters(), lr=0.0, weight_decay=schedule.weight_decay)
    averaged = copy.deepcopy(task.model).eval()
    step, best, best_state, spent = 0, -math.inf, averaged.state_dict(), 0.0
    if checkpoint.exists():
        state = _load(checkpoint, task.model)
        task.model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        task.set_random_state(state["random"])
        torch.set_rng_state(state["torch_random"])
        step, best, best_state, spent = state["step"], state["best"], state["best_state"], state["seconds"]
    losses: list[float] = []
    started = time.monotonic() - spent
    while step < schedule.steps:
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        task.model.train()
        loss = task.loss()
        if not torch.isfinite(loss):
            raise InputError(
                f"training: the loss became {loss.item()} at step {step}; "
                + (f"the last good state is in {checkpoint}; " if checkpoint.exists() else "")
                + "check the volume, and try another --seed"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimiser.step()
        step += 1
        losses.append(float(loss.detach()))
        _average(averaged, task.model, min(schedule.average, step / (step + 10)))
        if step % schedule.score_every == 0 or step == schedule.steps:
            score = task.score(averaged)
            if score >= best:
                best, best_state = score, copy.deepcopy(averaged.state_dict())
            seconds = time.monotonic() - started
            state = {
                "model": task.model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "random": task.random_state(),
                "torch_random": torch.get_rng_state(),
                "step": step,
                "best": best,
                "best_state": best_state,
                "seconds": seconds,
            }
            _save(state, checkpoint)
            mean = sum(losses) / len(losses)
            report(Progress(step=step, steps=schedule.steps, loss=mean, score=score, best=best, seconds=seconds))
            losses.clear()
    averaged.load_state_dict(best_state)
    return averaged


def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mean, value in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def _load(path: Path, model: nn.Module) -> dict[str, Any]:
    """The state in a checkpoint of the same network.

    Raises
    ------
    InputError
        If it is damaged or of another network.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=False)
        shapes = {name: value.shape for name, value in state["model"].items()}
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"checkpoint {path} is damaged ({type(error).__name__}); delete it to start anew") from error
    if shapes != {name: value.shape for name, value in model.state_dict().items()}:
        raise InputError(f"checkpoint {path} is of another network; delete it to start anew, or give another --out")
    return state


def _save(state: dict[str, Any], path: Path) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
