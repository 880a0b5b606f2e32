"""Tasks that the tests send to workers: they live in a module, because workers import what they run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from mitoscale.core.errors import StoppedError
from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, BlockGrid
from mitoscale.core.result import BlockResult


def row_of_blocks(count: int) -> list[Block]:
    """``count`` blocks along x."""
    region = Region.of_shape((1, 1, count))
    return list(BlockGrid(region=region, core_shape=(1, 1, 1), margin=(0, 0, 0)).blocks())


def square(key: Any) -> BlockResult:
    """The square of the block's place."""
    return BlockResult(name=key.name, counts={"square": float(key.index[2] ** 2)})


def timed(key: Any) -> BlockResult:
    """When the task began and ended."""
    began = time.time()
    time.sleep(0.02)
    return BlockResult(name=key.name, seconds={"began": began, "ended": time.time()})


def fail_at(key: Any, *, place: int, folder: str) -> BlockResult:
    """Raise at one block, and note each attempt."""
    Path(folder, f"{key.name}-{time.time_ns()}").touch()
    if key.index[2] == place:
        raise ValueError(f"no membrane in {key.name}")
    return square(key)


def fail_once(key: Any, *, folder: str) -> BlockResult:
    """Raise at the first attempt of each block."""
    mark = Path(folder, key.name)
    if not mark.exists():
        mark.touch()
        raise OSError("the network is away for a moment")
    return square(key)


def die_at(key: Any, *, place: int, folder: str) -> BlockResult:
    """Kill the worker at one block, and note each attempt."""
    Path(folder, f"{key.name}-{time.time_ns()}").touch()
    if key.index[2] == place:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(key)


def disk_full_at(key: Any, *, place: int, folder: str) -> BlockResult:
    """Say at one block that the disk is full, and note each attempt."""
    Path(folder, f"{key.name}-{time.time_ns()}").touch()
    if key.index[2] == place:
        raise StoppedError("the disk is full")
    return square(key)


def environment(key: Any) -> BlockResult:
    """The threads that the worker's environment tells."""
    names = ("MITOSCALE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return BlockResult(name=key.name, counts={name: float(os.environ[name]) for name in names})
