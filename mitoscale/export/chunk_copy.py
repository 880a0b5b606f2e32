"""A level copied into an array of chunks, block by block."""

from __future__ import annotations

from mitoscale.core.geometry import Triple
from mitoscale.export.level import Level
from mitoscale.storage.new_chunked import NewChunked

CHUNK: Triple = (64, 128, 128)
"""Usual chunk (z, y, x) of what is exported: 4 MiB of labels, so that a terabyte is some 10^5 files."""


def chunk_of(level: Level) -> Triple:
    """The usual chunk, no longer than the level."""
    z, y, x = (min(c, n) for c, n in zip(CHUNK, level.shape, strict=True))
    return z, y, x


def copy(level: Level, array: NewChunked) -> None:
    """Copy all voxels; each chunk or shard is written once.

    Parameters
    ----------
    level : Level
        What is copied.
    array : NewChunked
        Of its shape and dtype.

    Raises
    ------
    BlockError
        If stored bytes are missing or broken.
    StoppedError
        If it cannot be written.
    """
    for block in level.blocks(array.step):
        array.write(block, level.read(block))
