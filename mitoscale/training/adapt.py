"""Adapting a U-Net to a volume without labels: statistics estimated anew, then self-training in rounds, each kept only if better.

Each round labels some windows with what the network, turned round, and SAM agree on, and learns from crops of them that are
changed as far as other microscopes differ (a student under strong augmentation, as in Sohn et al. 2020, "FixMatch", arXiv
2001.07685). Other windows, never learnt from, say whether that was any good, by signs that need no truth.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mitoscale.core.adapt_settings import AdaptSettings
from mitoscale.core.geometry import Spacing
from mitoscale.evaluation.tissue_windows import Window
from mitoscale.nets.unet import UNet
from mitoscale.training.adapt_answers import Answer, Asker
from mitoscale.training.adapt_learning import labelled, unchanged
from mitoscale.training.adapt_signals import kept, signals
from mitoscale.training.adapt_state import AdaptState, Stage, load_state, round_checkpoint, save_state
from mitoscale.training.adapt_verdict import better, doubts, no_ground
from mitoscale.training.batch_norm import estimated_anew
from mitoscale.training.checkpoint import Progress
from mitoscale.training.drawn import training_phantoms
from mitoscale.training.loop import LossError, Schedule, train
from mitoscale.training.prefetch import spare_processes
from mitoscale.training.samples import Annotated
from mitoscale.training.trained_weights import memory_told
from mitoscale.training.unet import UNetTask
from mitoscale.training.weight_averaging import blended

_AVERAGE = 0.95
"""Decay of the averaged weights: rounds are short."""

_REPORTS = 4
"""Reports a round."""

_HALF, _WHOLE = 0.5, 1.0
"""Parts of the normalisation's statistics that may be the volume's: they help on one and do harm on another, so all are judged."""


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """All that one adaptation works with."""

    settings: AdaptSettings
    """What is wanted."""
    token: str
    """Digest of settings and data: a checkpoint of another adaptation is refused."""
    asker: Asker
    """Runs the networks and SAM on windows."""
    windows: Sequence[Window]
    """Of the volume."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    truths: Sequence[Annotated]
    """Annotated volumes to go on learning from; may be empty."""
    tell: Callable[[Stage], None]
    """Hears of each stage when it ends."""
    report: Callable[[Progress], None]
    """Hears of the steps of a round."""

    @property
    def learnt(self) -> Sequence[Window]:
        """Windows to learn from."""
        return self.windows[::2]

    @property
    def held(self) -> Sequence[Window]:
        """Windows that only say how good a network is."""
        return self.windows[1::2]

    def run(self, start: UNet) -> AdaptState:
        """Adapt a network; begun before, it goes on from the last stage or the last step kept.

        Parameters
        ----------
        start : UNet
            On the CPU; stays as it is.
        """
        state = load_state(Path(self.settings.out), start, self.token)
        if state is None:
            state = self._begun(start)
        while not state.ended(self.settings.rounds):
            state = self._round(state) if len(state.stages) > 1 else self._statistics(state)
        return state

    def _begun(self, start: UNet) -> AdaptState:
        began = time.monotonic()
        answers = self.asker.answers(start, self.held)
        found = signals(answers, self.spacing)
        stage = Stage(
            name="before", signals=found, kept=1.0, statistics=0.0, doubts=no_ground(found), taken=True, seconds=_since(began)
        )
        means = [a.mean for a in answers]
        return self._saved(AdaptState(model=copy.deepcopy(start), before=means, now=means, stages=[stage]))

    def _statistics(self, state: AdaptState) -> AdaptState:
        began = time.monotonic()
        return self._judged(state, "statistics", state.model, (_HALF, _WHOLE), began)

    def _round(self, state: AdaptState) -> AdaptState:
        began, number = time.monotonic(), len(state.stages) - 1
        torch.manual_seed(self.settings.seed + number)
        answers = self.asker.answers(state.model, self.learnt)
        volumes = self._mixed(labelled(self.learnt, answers, self.spacing))
        if not volumes:
            return self._given_up(state, number, "no window holds a profile that all agree on", began)
        model = copy.deepcopy(state.model).requires_grad_(True)
        settings = self.settings
        assert settings.batch and settings.crop and settings.steps and settings.learning_rate
        task = UNetTask(
            model,
            volumes,
            [],
            batch=settings.batch,
            size=settings.crop,
            bodies=0.0,
            varied=settings.varied,
            seed=settings.seed + number,
            processes=spare_processes(settings.threads),
        )
        schedule = Schedule(
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            average=_AVERAGE,
            score_every=-(-settings.steps // _REPORTS),
        )
        checkpoint = round_checkpoint(Path(settings.out), number)
        try:
            with memory_told(settings.batch):
                trained = train(task, schedule, checkpoint, self.report, json.dumps({"round": number, "of": self.token}))
        except LossError as error:
            return self._given_up(state, number, str(error), began)
        end = trained.model.cpu().requires_grad_(False)
        assert isinstance(end, UNet)
        mixed = blended(end, state.model, settings.keep_init)
        after = self._judged(state, f"round {number}", mixed, (0.0, _HALF, _WHOLE), began)
        checkpoint.unlink(missing_ok=True)
        return after

    def _given_up(self, state: AdaptState, number: int, why: str, began: float) -> AdaptState:
        """The state after a round that gave no network."""
        stage = replace(state.best, name=f"round {number}", doubts=why, taken=False, seconds=_since(began))
        return self._saved(replace(state, stages=[*state.stages, stage]))

    def _unchanged(self, model: UNet) -> list[torch.Tensor]:
        return list(unchanged(self.learnt, self.spacing, model))

    def _mixed(self, own: list[Annotated]) -> list[Annotated]:
        """The windows, and what else is learnt from, each with its share."""
        settings = self.settings
        if not own:
            return []
        phantoms = training_phantoms(settings.phantoms, settings.phantom_share) if settings.phantoms else []
        left = 1 - (settings.phantom_share if phantoms else 0.0)
        part = settings.volume_share * left if self.truths else 0.0
        total = sum(v.share for v in self.truths) or 1.0
        truths = [replace(v, share=v.share * part / total) for v in self.truths]
        return [*(replace(v, share=(left - part) / len(own)) for v in own), *truths, *phantoms]

    def _judged(self, state: AdaptState, name: str, model: UNet, parts: Sequence[float], began: float) -> AdaptState:
        """The state after a stage: with its network and the best of some parts of the volume's statistics, where that is better."""
        tried = [self._seen(state, name, model, part) for part in parts]
        stage, means, model = max(tried, key=lambda one: (not one[0].doubts, one[0].signals.score))
        found = stage.signals
        best = max((s for s in state.stages if s.taken), key=lambda s: s.signals.score)
        taken = not stage.doubts and (bool(state.best.doubts) or better(found, state.stages[0].signals, best.signals))
        stages = [*state.stages, replace(stage, taken=taken, seconds=_since(began))]
        if taken:
            return self._saved(AdaptState(model=model, before=state.before, now=means, stages=stages))
        # What was worse is shown where nothing was better.
        shown = means if len(stages) == 2 or not any(s.taken for s in stages[1:]) else state.now
        return self._saved(AdaptState(model=state.model, before=state.before, now=shown, stages=stages))

    def _seen(self, state: AdaptState, name: str, model: UNet, part: float) -> tuple[Stage, list[np.ndarray], UNet]:
        """A network with a part of the volume's statistics: its signals, its (Y, X) probability in each window held out, and it."""
        if part:
            model = estimated_anew(model, self._unchanged(model), part)
        answers: list[Answer] = self.asker.answers(model, self.held)
        found, means = signals(answers, self.spacing), [a.mean for a in answers]
        same = kept(state.before, means)
        stage = Stage(name=name, signals=found, kept=same, statistics=part, doubts=doubts(found, same), taken=False, seconds=0.0)
        return stage, means, model

    def _saved(self, state: AdaptState) -> AdaptState:
        save_state(Path(self.settings.out), state, self.token)
        self.tell(state.stages[-1])
        return state


def _since(began: float) -> float:
    return time.monotonic() - began
