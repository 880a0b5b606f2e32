"""The settings of training and fine-tuning: what a job on a worker gets, and what its result depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal

from pydantic import Field, model_validator

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing
from mitoscale.core.settings import Settings
from mitoscale.core.source_choices import Reading

UNLABELLED_VALUE = 65535
"""What stands in truths that ``mitoscale suggest`` writes for voxels that nobody has annotated."""

Slices = tuple[int, int]
"""A half-open range of slices."""


def check_apart(named: Mapping[str, Slices | None]) -> None:
    """Raise InputError where two ranges of slices, named by their options, overlap."""
    for (one, first), (two, second) in combinations(((n, r) for n, r in named.items() if r is not None), 2):
        if max(first[0], second[0]) < min(first[1], second[1]):
            raise InputError(
                f"--{one} {first[0]}:{first[1]} and --{two} {second[0]}:{second[1]} overlap; scores would mean nothing"
            )


def slices_beside(slices: Slices | None, reserved: Mapping[str, Slices], depth: int) -> Slices:
    """The slices to learn from: those wanted, else all before what is reserved, or after it where that is at the start.

    Parameters
    ----------
    slices : (start, stop), optional
        Those wanted.
    reserved : mapping of (start, stop)
        Slices that must not be learnt from.
    depth : int
        Slices of the volume.
    """
    if slices is not None:
        return slices
    ranges = sorted(reserved.values())
    if not ranges:
        return 0, depth
    return (0, ranges[0][0]) if ranges[0][0] > 0 else (max(r[1] for r in ranges), depth)


class ListedVolume(Settings):
    """One of several volumes to train on, as the file that lists them tells it."""

    image: str
    """Absolute path of the volume."""
    truth: str | None = None
    """Absolute path of the truth, of the same shape; None: only its grey values are borrowed by crops of the others."""
    reading: Reading = Reading()
    """What is read of the volume where that is not clear, such as ``{channel: 1}``."""
    truth_dtype: str | None = None
    """Of a truth of raw bytes; None: the volume's."""
    voxel_size: Spacing | None = None
    """Voxel size (z, y, x) in nm; None: what the volume tells."""
    truth_threshold: int | float | None = None
    """The truth is a mask of grey values or probabilities: above this is mitochondrion. Whole numbers are int: the token tells."""
    invert: bool = False
    """Membranes are bright: swap dark and bright."""
    slices: Slices | None = None
    """Slices to learn from; None: those beside the reserved ones."""
    tune: Slices | None = None
    """Slices that choose the weights; never learnt from."""
    test: Slices | None = None
    """Slices that fine-tuning only scores, before and after; never learnt from."""
    every: int = Field(1, gt=0)
    """Of the slices to learn from, fine-tuning takes only each so many: thin neighbouring slices are nearly the same picture."""
    share: float = Field(1.0, gt=0)
    """How often it is drawn from, relative to the other volumes."""
    border: int = Field(0, ge=0)
    """Pixels along the edges of each slice whose truth is not to be believed: neither mitochondrion nor background."""
    unlabelled: int | None = Field(None, gt=0)
    """Value of the truth that means "not annotated": neither mitochondrion nor background."""
    normalised: bool = False
    """The image is uint8 already normalised, as ``mitoscale suggest`` writes it: it is taken as it is."""
    name: str = ""
    """What it is called in scores."""

    @model_validator(mode="after")
    def _check(self) -> ListedVolume:
        check_apart({"slices": self.slices, **self.reserved()})
        if not self.truth:
            for name in self.reserved():
                told = "tuning" if name == "tune" else name
                raise InputError(f"{self.image} has {told} slices, but no truth to score them by: leave {name} out, or give truth")
        return self

    def reserved(self) -> dict[str, Slices]:
        """Slices that must not be learnt from, by what they are for."""
        return {name: slices for name, slices in (("tune", self.tune), ("test", self.test)) if slices}

    def learnt(self, depth: int) -> Slices:
        """The slices to learn from, of a volume with ``depth`` slices."""
        return slices_beside(self.slices, self.reserved(), depth)


class LearnSettings(Settings):
    """What training and fine-tuning have in common."""

    volume: str
    """Absolute path of the volume."""
    truth: str
    """Absolute path of the truth, of the same shape."""
    volumes: tuple[ListedVolume, ...] = ()
    """Volumes to train on; empty: the one of ``volume`` and ``truth``, which otherwise is the file that lists them."""
    reading: Reading = Reading()
    """What the user has decided of the volume."""
    truth_dtype: str | None = None
    """Of a truth of raw bytes; None: the volume's."""
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
    varied: float = 0.0
    """Part of the crops that is changed as far as other tissues and microscopes differ, 0..1."""
    phantoms: int = 0
    """Phantoms mixed in."""
    phantom_share: float = 0.35
    """Their part of the crops."""
    scenes: int = Field(0, ge=0, le=1000)
    """Drawn scenes of other tissues mixed in."""
    scene_share: float = Field(0.35, gt=0, le=0.9)
    """Their part of the crops."""
    seed: int = 0
    """Seed of all randomness."""
    threads: int | None = None
    """CPU threads; None: all."""

    @model_validator(mode="after")
    def _check(self) -> LearnSettings:
        if not self.out.endswith(".safetensors"):
            raise InputError(f"--out {self.out} must end in .safetensors")
        check_apart({"slices": self.slices, **self.reserved()})
        if self.scenes and self.phantoms and self.scene_share + self.phantom_share > 0.95:
            raise InputError(
                f"--scene-share {self.scene_share:g} and --phantom-share {self.phantom_share:g} leave too little for real volumes: "
                "their sum must be at most 0.95"
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
        return slices_beside(self.slices, self.reserved(), depth)

    def token(self, data: str) -> str:
        """All that the result depends on, as JSON; a checkpoint of another one is not gone on with.

        Parameters
        ----------
        data : str
            Digest of volume and truth.
        """
        ignored: dict[str, Any] = dict.fromkeys(
            ("volume", "truth", "reading", "truth_dtype", "out", "threads", "cache", "cache_bytes", "accept_any"), True
        ) | {one: {"__all__": {"image", "truth", "reading", "truth_dtype"}} for one in ("volumes", "unseen")}
        content = self.model_dump(mode="json", exclude=ignored)
        if content.get("prompts_of") is None:  # as trainings were told from each other before there were such
            content.pop("prompts_of", None)
        return json.dumps(content | {"volume and truth": data}, sort_keys=True)


class TrainSettings(LearnSettings):
    """How a network is trained."""

    crop: int | None = None
    """Height and width of a U-Net's crops in its pixels; None: the preset's."""

    model: Literal["unet", "sam"] = "unet"
    """A U-Net, or a small SAM from scratch."""
    phantoms: int = 6
    """See :class:`LearnSettings`."""
    init: str | None = None
    """Weights to start from."""
    mistakes: bool = True
    """A part of the crops is centred on what the weights of ``init`` mistake; finding that takes a look at every fourth slice."""
    keep_init: float = 0.0
    """Part of those weights that the result keeps, 0..1; see :mod:`mitoscale.training.weight_averaging`."""
    prompts_of: str | None = None
    """U-Net, by name or path, whose prompts a SAM learns from, too, with what it mistakes."""
    steps: int | None = None
    """Optimiser steps; None: the preset's."""

    @model_validator(mode="after")
    def _check_preset(self) -> TrainSettings:
        if self.prompts_of is not None and self.model != "sam":
            raise InputError(f"--prompts-of {self.prompts_of} is for --model sam: a U-Net is not asked by prompts; leave it out")
        if self.preset == "report" and self.model == "sam":
            raise InputError("--preset report is unknown for sam: the first report's network is a U-Net; leave --preset out")
        if self.preset == "report" and self.volumes:
            raise InputError("--preset report learns from one volume: name it and its truth instead of a list")
        if self.crop is not None and (self.preset == "report" or self.model == "sam" or self.crop % 32 or self.crop < 64):
            raise InputError(f"--crop {self.crop} is for the default U-Net alone, and must be a multiple of 32, at least 64")
        if self.scenes and self.preset == "report":
            raise InputError(f"--scenes {self.scenes} is for the default preset: --preset report learns from one volume")
        if self.keep_init and self.init is None:
            raise InputError(f"--keep-init {self.keep_init:g} keeps a part of the weights of --init, which is missing: give it too")
        return self


class FinetuneSettings(LearnSettings):
    """How SAM's mask decoder is fine-tuned."""

    unseen: tuple[ListedVolume, ...] = ()
    """Volumes of the list that are left out: never learnt from, but scored before and after."""
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
    every: int | None = None
    """Of the slices to learn from only each so many; None: each."""
    versions: int | None = None
    """Versions of each window that are kept, the plain one and augmented ones; None: the preset's."""
    cache: str
    """Folder of the embedding cache."""
    cache_bytes: int
    """Largest size of that folder in bytes."""
    accept_any: bool = False
    """Write the new weights even where they are no better."""

    @model_validator(mode="after")
    def _check_preset(self) -> FinetuneSettings:
        if self.preset == "report" and self.volumes:
            raise InputError("--preset report learns from one volume: name it and its truth instead of a list")
        changing = self.changing
        if changing and (self.preset == "report" or self.versions == 1):
            only = "--preset report learns" if self.preset == "report" else "--versions 1 learns"
            raise InputError(f"{changing} is for the augmented versions of the windows, but {only} from the plain ones alone")
        return self

    @property
    def changing(self) -> str:
        """The first option that only augmented windows heed; empty: none."""
        given = {"--varied": self.varied, "--phantoms": self.phantoms, "--scenes": self.scenes}
        return next((f"{name} {value:g}" for name, value in given.items() if value), "")

    def reserved(self) -> dict[str, Slices]:
        """See :class:`LearnSettings`."""
        return super().reserved() | ({"test": self.test} if self.test else {})
