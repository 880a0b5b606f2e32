"""What blocks cost the one client and scheduler of a run: time for each task and block, memory for each block.

``benchmarks/scale.py`` measures the constants with 10^5 blocks that compute nothing.
"""

from __future__ import annotations

import math

TASK_SECONDS = 0.0033
"""Time of client and scheduler for a task they send, follow and forget."""

BLOCK_SECONDS = 0.0003
"""Time of the client for a block: what it reads is digested, its result is unpacked, its ledger line written."""

BUSY = 0.5
"""Part of their time that client and scheduler may be busy with tasks before several blocks travel as one task."""

LARGEST = 64
"""Most blocks of a bundle: all of them are computed again where a worker dies."""

SOURCE_BYTES = 300
"""Memory of the client for each block of an earlier stage that a stage reads: its name and checksum."""

STANDING_BYTES = 500
"""Memory of the client for each block of the stage itself: what its ledger says."""

GROWTH_BYTES = 500
"""What client and scheduler keep of each block they have handled, until the run ends."""


def bundle_size(seconds: float, slots: int) -> int:
    """How many blocks (or faces) should travel as one task.

    Parameters
    ----------
    seconds : float
        What one takes to compute.
    slots : int
        Tasks that are computed at once.

    Returns
    -------
    int
        1 where they take long enough, at most ``LARGEST``.

    Examples
    --------
    >>> bundle_size(5.0, slots=8), bundle_size(5.0, slots=2000), bundle_size(0.1, slots=200), bundle_size(0.0, slots=1)
    (1, 3, 14, 64)
    """
    return min(LARGEST, max(1, math.ceil(TASK_SECONDS * slots / BUSY / max(seconds, 1e-6))))


def load_seconds(blocks: int, bundle: int) -> float:
    """Time of client and scheduler for a stage.

    Parameters
    ----------
    blocks : int
        Blocks or faces of the stage.
    bundle : int
        How many travel as one task.

    Examples
    --------
    >>> load_seconds(10**6, 1) / 3600, load_seconds(10**6, 50) / 3600
    (1.0, 0.10166666666666667)
    """
    return -(-blocks // bundle) * TASK_SECONDS + blocks * BLOCK_SECONDS


def client_bytes(blocks: int, tasks: int) -> float:
    """Memory of client and scheduler that follows the number of blocks, during one stage.

    Parameters
    ----------
    blocks : int
        Blocks of the run; two earlier stages are read, as ``segment`` does.
    tasks : int
        Blocks or faces of the stage.

    Examples
    --------
    >>> client_bytes(10**6, 3 * 10**6) / 1e9
    3.6
    """
    return float(2 * SOURCE_BYTES * blocks + (STANDING_BYTES + GROWTH_BYTES) * tasks)
