"""The highest label of what is exported: what some kinds choose their width by."""

from __future__ import annotations

from mitoscale.export.level import Level

_STEP = (32, 128, 128)


def highest_label(level: Level) -> int:
    """The highest label; all voxels are read, a block at a time.

    Raises
    ------
    BlockError
        If stored bytes are missing or broken.
    """
    return max(int(level.read(block).max(initial=0)) for block in level.blocks(_STEP))
