"""How far a training is, and the checkpoint that tells it to whoever goes on: written whole, read under the same settings alone."""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mitoscale.core.errors import InputError
from mitoscale.storage.atomic import replacing

_BROKEN = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)
"""What reading a damaged checkpoint may raise."""


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


@dataclass(kw_only=True)
class TrainingState:
    """How far a training is, beside its tensors."""

    best_state: dict[str, Any]
    """The averaged weights with the best score."""
    step: int = 0
    """Steps done."""
    best: float = -math.inf
    """Best score."""
    seconds: float = 0.0
    """Training time."""
    losses: list[float] = field(default_factory=list)
    """Losses since the last score."""
    history: list[Progress] = field(default_factory=list)
    """All reports."""


def load(path: Path, model: nn.Module, token: str) -> tuple[dict[str, Any], TrainingState]:
    """What is in a checkpoint of the same network and settings, on the CPU; nothing in it is run.

    Parameters
    ----------
    path : Path
        The checkpoint.
    model : nn.Module
        Whose shapes it must have.
    token : str
        Of the settings and data it must be of.

    Returns
    -------
    dict
        What ``save`` was given: tensors of ``model``, ``averaged``, ``optimiser`` and ``torch_random``.
    TrainingState
        The rest of it.

    Raises
    ------
    InputError
        If it is damaged, of another network, or of other settings.
    """
    state = _read(path)
    try:
        shapes = {name: value.shape for name, value in state["model"].items()}
        training_state = TrainingState(**state["standing"])
        training_state.history = [Progress(**h) for h in state["standing"]["history"]]
    except _BROKEN as error:
        raise InputError(f"checkpoint {path} is damaged ({type(error).__name__}); delete it to start anew") from error
    if shapes != {name: value.shape for name, value in model.state_dict().items()}:
        raise InputError(f"checkpoint {path} is of another network; delete it to start anew, or give another --out")
    _check_token(path, state, token)
    return state, training_state


def load_plain(path: Path, token: str) -> dict[str, Any]:
    """What ``save`` was given, on the CPU; nothing in it is run.

    Parameters
    ----------
    path : Path
        The checkpoint.
    token : str
        Of the settings and data it must be of.

    Raises
    ------
    InputError
        If it is damaged, or of other settings.
    """
    state = _read(path)
    _check_token(path, state, token)
    return state


def _read(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as whole:  # torch reads over broken bytes; the archive's check sums tell them
            if whole.testzip() is not None:
                raise ValueError("check sum")
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        _ = state["token"]
    except _BROKEN as error:
        raise InputError(f"checkpoint {path} is damaged ({type(error).__name__}); delete it to start anew") from error
    return state


def _check_token(path: Path, state: dict[str, Any], token: str) -> None:
    if state["token"] != token:
        differs = _difference(state["token"], token)
        raise InputError(f"checkpoint {path} is of other settings or data{differs}; delete it to start anew, or give another --out")


def steps_in(path: Path, token: str) -> int:
    """Steps that a checkpoint of the same settings has behind it; 0 where there is none, or none that can be read.

    Parameters
    ----------
    path : Path
        The checkpoint.
    token : str
        Settings of the training.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
        return int(state["standing"]["step"]) if state["token"] == token else 0
    except _BROKEN:
        return 0


def _difference(known: str, token: str) -> str:
    """The first thing in which two tokens of settings differ, in words."""
    try:
        was, now = json.loads(known), json.loads(token)
        name = next(name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name))
    except (ValueError, AttributeError, StopIteration):
        return ""
    if " " in name:  # data, of which the token has a digest alone
        return f" ({name} are others)"
    return f" ({name.replace('_', '-')} is {was.get(name)} there, {now.get(name)} here)"


def save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint: whole, or not at all.

    Parameters
    ----------
    state : dict
        Tensors, numbers and text, in dicts and lists.
    path : Path
        The file to make or replace.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    with replacing(str(path)) as part:
        try:
            with open(part, "wb") as file:
                torch.save(state, file)
        except RuntimeError as error:  # torch's own words for a file that takes no more; the file's stand behind them
            reason = error.__context__
            raise reason if isinstance(reason, OSError) else OSError(str(error).splitlines()[0]) from error
