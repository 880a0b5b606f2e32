"""How far an adaptation is: its network, what was found before and now, and all stages; kept beside the weights to go on from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mitoscale.core.errors import InputError
from mitoscale.nets.unet import UNet
from mitoscale.training.adapt_signals import Signals
from mitoscale.training.checkpoint import load_plain, save


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage that has ended."""

    name: str
    """``before``, ``statistics`` or ``round N``."""
    signals: Signals
    """Of the windows that are not learnt from."""
    kept: float
    """Part of what was sure before all stages that is found now."""
    statistics: float
    """Part of the normalisation's statistics that is the volume's, estimated in this stage; the rest is the network's own."""
    doubts: str
    """What is wrong with it; empty: nothing."""
    taken: bool
    """Whether its network is gone on with."""
    seconds: float
    """How long it took."""

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        values = {"stage": self.name, **self.signals.record(), "kept": round(self.kept, 4), "statistics": self.statistics}
        return values | {"doubts": self.doubts, "taken": self.taken, "seconds": round(self.seconds, 1)}


@dataclass(frozen=True, kw_only=True)
class AdaptState:
    """What the next stage starts from."""

    model: UNet
    """The best network so far, in evaluation mode, on the CPU."""
    before: Sequence[np.ndarray]
    """(Y, X) float32 probability in each window that is not learnt from, before all stages."""
    now: Sequence[np.ndarray]
    """The same of ``model``; where no stage was taken, of the last one."""
    stages: Sequence[Stage]
    """Stages that have ended, in order."""

    @property
    def best(self) -> Stage:
        """The stage that ``model`` is of."""
        return [stage for stage in self.stages if stage.taken][-1]

    @property
    def refused(self) -> str:
        """Why the network is not worth writing; empty where it is better than the one before all stages."""
        before, best, last = self.stages[0], self.best, self.stages[-1]
        if len(self.stages) > 1 and best is not before:
            return ""
        tried = [stage.signals.score for stage in self.stages[1:]]
        if before.doubts:
            why = next((s.doubts for s in self.stages[1:] if s.doubts), before.doubts)
            return f"there is no ground to learn from: {before.doubts}; with statistics of the volume, {why}"
        told = ", ".join(f"{score:.3f}" for score in tried)
        return f"nothing was gained: the agreement was {before.signals.score:.3f} before and {told} after" + (
            f"; {last.doubts}" if last.doubts else ""
        )

    def ended(self, rounds: int) -> bool:
        """Whether no stage is left: all rounds are done, the last one was no better, or there is nothing to learn from.

        Parameters
        ----------
        rounds : int
            Most rounds.
        """
        done = len(self.stages) - 2
        if done < 0:
            return False
        return done >= rounds or bool(self.best.doubts) or (done > 0 and not self.stages[-1].taken)


def state_path(out: Path) -> Path:
    """Where the state of the adaptation to some weights lies."""
    return out.with_suffix(".checkpoint")


def round_checkpoint(out: Path, number: int) -> Path:
    """Checkpoint of the steps of one round.

    Parameters
    ----------
    out : Path
        The weights.
    number : int
        The round, from 1.
    """
    return out.with_suffix(f".round-{number}.checkpoint")


def save_state(out: Path, state: AdaptState, token: str) -> None:
    """Keep a state.

    Parameters
    ----------
    out : Path
        The weights beside which it lies.
    state : AdaptState
        What is kept; probabilities as float16.
    token : str
        Stands for settings and data.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    content = {
        "token": token,
        "model": state.model.state_dict(),
        "before": [torch.from_numpy(p.astype(np.float16)) for p in state.before],
        "now": [torch.from_numpy(p.astype(np.float16)) for p in state.now],
        "stages": [asdict(stage) for stage in state.stages],
    }
    save(content, state_path(out))


def load_state(out: Path, start: UNet, token: str) -> AdaptState | None:
    """The state of an adaptation that was begun; None: it was not.

    Parameters
    ----------
    out : Path
        The weights beside which it lies.
    start : UNet
        The network it was begun with.
    token : str
        Stands for settings and data.

    Raises
    ------
    InputError
        If it is damaged, or of other settings or data.
    """
    path = state_path(out)
    if not path.exists():
        return None
    content = load_plain(path, token)
    model = copy.deepcopy(start)
    try:
        model.load_state_dict(content["model"])
        stages = [Stage(**{**s, "signals": Signals(**s["signals"])}) for s in content["stages"]]
        before, now = ([t.numpy().astype(np.float32) for t in content[name]] for name in ("before", "now"))
    except (LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"checkpoint {path} is damaged ({type(error).__name__}); delete it to start anew") from error
    return AdaptState(model=model.eval(), before=before, now=now, stages=stages)
