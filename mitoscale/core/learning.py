"""The settings of training and fine-tuning: what a job on a worker gets, and what its result depends on."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Literal

from pydantic import model_validator

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing
from mitoscale.core.settings import Settings

Slices = tuple[int, int]
"""A half-open range of slices."""


class LearnSettings(Settings):
    """What training and fine-tuning have in common."""

    volume: str
    """Absolute path of the volume."""
    truth: str
    """Absolute path of the truth, of the same shape."""
    voxel_size: Spacing | None = None
    """Voxel size (z, y, x) in nm; None: what the volume tells."""
    truth_threshold: int | float | None = None
    """The truth is a mask of grey values or probabilities: above this is mitochondrion. Whole numbers are int: the token tells."""
    invert: bool = False
    """Membranes are bright: swap dark and bright."""
    out: str
    """Absolute path of the weights file to write; checkpoint and history lie beside it."""
    preset: Literal["default", "report"] = "default"
    """The recipe: this project's, or an origin report's."""
    slices: Slices | None = None
    """Slices to learn from; None: those beside the tuning slices."""
    tune: Slices | None = None
    """Slices that choose the weights; never learnt from."""
    batch: int | None = None
    """Windows a step; None: the preset's."""
    learning_rate: float | None = None
    """None: the preset's."""
    patience: int | None = None
    """Stop after so many scores without a better one; 0: never; None: the preset's."""
    seed: int = 0
    """Seed of all randomness."""
    threads: int | None = None
    """CPU threads; None: all."""

    @model_validator(mode="after")
    def _check(self) -> LearnSettings:
        if not self.out.endswith(".safetensors"):
            raise InputError(f"--out {self.out} must end in .safetensors")
        named = {"slices": self.slices, **self.reserved()}
        for (one, first), (two, second) in combinations(((n, r) for n, r in named.items() if r is not None), 2):
            if max(first[0], second[0]) < min(first[1], second[1]):
                raise InputError(
                    f"--{one} {first[0]}:{first[1]} and --{two} {second[0]}:{second[1]} overlap; scores would mean nothing"
                )
        return self

    def reserved(self) -> dict[str, Slices]:
        """Slices that must not be learnt from, by the option's name."""
        return {"tune": self.tune} if self.tune else {}

    def learnt(self, depth: int) -> Slices:
        """The slices to learn from, of a volume with ``depth`` slices.

        Examples
        --------
        >>> LearnSettings(volume="v", truth="t", out="w.safetensors", tune=(20, 30)).learnt(50)
        (0, 20)
        """
        if self.slices is not None:
            return self.slices
        ranges = sorted(self.reserved().values())
        if not ranges:
            return 0, depth
        return (0, ranges[0][0]) if ranges[0][0] > 0 else (max(r[1] for r in ranges), depth)

    def token(self, data: str) -> str:
        """All that the result depends on, as JSON; a checkpoint of another one is not gone on with.

        Parameters
        ----------
        data : str
            Digest of volume and truth.
        """
        content = self.model_dump(mode="json", exclude={"volume", "truth", "out", "threads", "cache", "cache_bytes", "accept_any"})
        return json.dumps(content | {"volume and truth": data}, sort_keys=True)


class TrainSettings(LearnSettings):
    """How a network is trained."""

    model: Literal["unet", "sam"] = "unet"
    """A U-Net, or a small SAM from scratch."""
    phantoms: int = 6
    """Phantoms mixed in."""
    phantom_share: float = 0.35
    """Their part of the crops."""
    init: str | None = None
    """Weights to start from."""
    keep_init: float = 0.0
    """Part of those weights that the result keeps, 0..1; see :mod:`mitoscale.training.weight_averaging`."""
    steps: int | None = None
    """Optimiser steps; None: the preset's."""

    @model_validator(mode="after")
    def _check_preset(self) -> TrainSettings:
        if self.preset == "report" and self.model == "sam":
            raise InputError("--preset report is unknown for sam: the first report's network is a U-Net; leave --preset out")
        if self.keep_init and self.init is None:
            raise InputError(f"--keep-init {self.keep_init:g} keeps a part of the weights of --init, which is missing: give it too")
        return self


class FinetuneSettings(LearnSettings):
    """How SAM's mask decoder is fine-tuned."""

    sam: str
    """Weights to start from, by name or path."""
    sam_pixel_nm: float | None = None
    """Pixel size SAM is to work at, in nm; None: the weights', or the volume's."""
    test: Slices | None = None
    """Slices that are only scored, before and after."""
    epochs: int | None = None
    """Times all windows are seen; None: the preset's."""
    prompts: int | None = None
    """Prompts a window; None: the preset's."""
    every: int = 1
    """Of the slices to learn from only each so many: thin neighbouring slices are nearly the same picture."""
    versions: int | None = None
    """Versions of each window that are kept, the plain one and augmented ones; None: the preset's."""
    cache: str
    """Folder of the embedding cache."""
    cache_bytes: int
    """Largest size of that folder in bytes."""
    accept_any: bool = False
    """Write the new weights even where they are no better."""

    def reserved(self) -> dict[str, Slices]:
        """See :class:`LearnSettings`."""
        return super().reserved() | ({"test": self.test} if self.test else {})
