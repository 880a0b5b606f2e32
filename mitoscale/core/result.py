"""What a stage's task works on, and what it gives back: a few numbers, never arrays."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mitoscale.core.grid import Block, CoarseShard, Face, SuperBlock

Key = Block | Face | SuperBlock | CoarseShard
"""What one task works on."""


class BlockResult(BaseModel):
    """The outcome of one task, returned once its data is durable.

    Examples
    --------
    >>> BlockResult(name="z000_y000_x000", counts={"detections": 3}).counts["detections"]
    3.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The block's name."""
    checksum: str = ""
    """Digest of what other blocks will read from this one, hex; empty where nothing is read."""
    counts: dict[str, float] = Field(default_factory=dict)
    """Small additive numbers: ``voxels`` of the core, ``bytes_read``, ``bytes_written``, detections and the like; of a network also
    ``network_pixels`` (all pixels that went through it, in its own pixels, once for each pass), ``network_seconds`` (time on its
    device), ``prompts``, and ``flat_voxels`` and ``flat_blocks``: padding, or of one grey value, so never given to it."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Time spent in ``read``, ``compute`` and ``write``."""
