"""The settings of adapting a U-Net to a volume without labels."""

from __future__ import annotations

from pydantic import Field

from mitoscale.core.detector_names import AUTO
from mitoscale.core.training_settings import TrainSettings


class AdaptSettings(TrainSettings):
    """How a U-Net is adapted to a volume from its grey values alone; ``volumes`` are others, with truths to go on learning from."""

    truth: str = ""
    """Always empty: adapting needs no truth."""
    init: str | None = AUTO
    """Weights to start from, by path; ``auto``: whichever embedded U-Net suits the volume."""
    sam: str = "sam-small"
    """Judge of the outlines, by name or path; ``none``: the U-Net alone."""
    rounds: int = Field(6, ge=0)
    """Most rounds; 0: only the statistics of the normalisation are estimated anew."""
    steps: int | None = Field(60, ge=1)
    """Optimiser steps a round."""
    windows: int = Field(12, ge=4)
    """Windows of the volume that are looked at; each second one is never learnt from."""
    batch: int | None = Field(6, ge=1)
    """Crops a step."""
    crop: int | None = 192
    """Height and width of a crop in network pixels."""
    learning_rate: float | None = 2e-4
    """Peak of the learning rate: low, for what was learnt before is soon forgotten."""
    varied: float = 0.5
    """See :class:`~mitoscale.core.training_settings.TrainSettings`."""
    phantoms: int = 0
    """Phantoms mixed in."""
    phantom_share: float = 0.1
    """Their part of the crops."""
    keep_init: float = 0.5
    """Part of the weights before a round that its result keeps."""
    volume_share: float = 0.4
    """Part of the crops in all that is of ``volumes``."""
