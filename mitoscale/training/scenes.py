"""Scenes to train on: drawn tissues of all presets, normalised like volumes that are read."""

from __future__ import annotations

from functools import partial

import numpy as np

from mitoscale.ops.grey_histogram import Histogram
from mitoscale.ops.scenes.presets import PRESETS
from mitoscale.ops.scenes.scene import make_scene
from mitoscale.stages.grey_statistics import grey_of
from mitoscale.training.crop import Annotated
from mitoscale.training.prefetch import made_in_processes

FIRST_SEED = 20_000
"""Seed of the first scene; the next one has the next."""

_STACK = (24, 320, 320)
_SINGLE = (1, 640, 640)
_TRIES = 4

_GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole part, are spread evenly over 0..1 from the first few on: a golden-ratio sequence."""


def training_scenes(count: int, share: float, processes: int = 1) -> list[Annotated]:
    """Scenes to train on beside real volumes: always the same ones for a count.

    Parameters
    ----------
    count : int
        How many.
    share : float
        Their part of the crops in all, where the real volumes' parts add up to ``1 - share``.
    processes : int
        How many are made at a time, each in a process of its own.
    """
    return made_in_processes(partial(one_scene, share=share / count), range(FIRST_SEED, FIRST_SEED + count), processes)


def preset_of(seed: int) -> str:
    """Name of the preset that a seed's scene is of; never one without weight."""
    weights = np.cumsum([p.weight for p in PRESETS.values()])
    return list(PRESETS)[int(np.searchsorted(weights / weights[-1], seed * _GOLDEN % 1.0, side="right"))]


def one_scene(seed: int, share: float) -> Annotated:
    """A scene of one of the presets, each of which comes as often as its weight says: a third are single pictures, the rest stacks.

    Parameters
    ----------
    seed : int
        The same seed gives the same scene; seeds that follow each other spread over the presets, however few they are.
    share : float
        How often it is drawn from.
    """
    rng = np.random.default_rng(seed)
    name = preset_of(seed)
    shape = _SINGLE if rng.random() < 1 / 3 else _STACK
    for attempt in range(_TRIES):  # where chance has left no room for mitochondria, another one
        scene = make_scene(PRESETS[name], shape, seed + attempt * 100_000)
        if scene.labels.any():
            break
    grey = grey_of(Histogram.of(scene.image), f"scene {name}")
    return Annotated(
        image=grey.normalisation.apply(scene.image),
        labels=scene.labels.astype(np.int32),
        spacing=scene.spacing,
        share=share,
        name=name,
    )
