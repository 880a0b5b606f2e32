"""Drawn volumes, phantoms and scenes, mixed in with real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mitoscale.core.training_settings import LearnSettings
from mitoscale.ops.phantom import make_phantom
from mitoscale.training.prefetch import made_in_processes, usable_processes
from mitoscale.training.samples import Annotated
from mitoscale.training.scenes import training_scenes

PHANTOM_SEEDS = range(1000, 2000)
"""Seeds of training phantoms; the demo and the tests use others."""


def with_drawn(settings: LearnSettings, learnt: Sequence[Annotated]) -> list[Annotated]:
    """Real volumes and the phantoms and scenes that the settings mix in, each with its part of the crops.

    Parameters
    ----------
    settings : LearnSettings
        How many of each, and their parts.
    learnt : sequence of Annotated
        Real volumes; their shares are relative to each other.
    """
    processes = usable_processes(settings.threads)
    drawn: list[Annotated] = []
    if settings.phantoms:
        drawn += training_phantoms(settings.phantoms, settings.phantom_share, processes)
    if settings.scenes:
        drawn += training_scenes(settings.scenes, settings.scene_share, processes)
    if not drawn:
        return list(learnt)
    real = (1 - sum(v.share for v in drawn)) / sum(v.share for v in learnt)
    return [*(replace(v, share=v.share * real) for v in learnt), *drawn]


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
    phantoms = made_in_processes(make, PHANTOM_SEEDS[:count], processes)
    return [Annotated(image=p.image, labels=p.labels.astype("int32"), spacing=p.spacing, share=share / count) for p in phantoms]
