"""The coarser levels of a pyramid: a shard spans several blocks, so it is written once all of these are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid, CoarseShard
from mitoscale.core.plan import RunPlan
from mitoscale.core.result import BlockResult
from mitoscale.storage.arrays import open_array


def coarse_shards(plan: RunPlan, level: int) -> Iterator[CoarseShard]:
    """The shards of a level from 1 on.

    Parameters
    ----------
    plan : RunPlan
        The run.
    level : int
        The level.
    """
    region = plan.region.downsampled(plan.spec.factors[level])
    grid = BlockGrid(region=region, core_shape=plan.spec.level_shards(level), margin=(0, 0, 0))
    yield from (CoarseShard(level=level, part=block) for block in grid.blocks())


def spanned(plan: RunPlan, key: CoarseShard) -> Region:
    """The level-0 voxels of the region that a coarse shard spans.

    Parameters
    ----------
    plan : RunPlan
        The run.
    key : CoarseShard
        The shard.
    """
    factor = plan.spec.factors[key.level]
    found = _finer(key.part.core, factor).intersection(plan.region)
    assert found is not None  # else there would be no such shard
    return found


def write_coarse(root: str, plan: RunPlan, key: CoarseShard, downsample: Callable[[np.ndarray, Triple], np.ndarray]) -> BlockResult:
    """Make a coarse shard from the next finer level, one of its shards at a time.

    Parameters
    ----------
    root : str
        OME-Zarr image or labels group.
    plan : RunPlan
        The run.
    key : CoarseShard
        The shard.
    downsample : callable
        Halves an array along the axes whose factor is 2.
    """
    spec, core = plan.spec, key.part.core
    factor, previous = spec.factors[key.level], spec.factors[key.level - 1]
    z, y, x = (f // p for f, p in zip(factor, previous, strict=True))
    step, finer = (z, y, x), plan.region.downsampled(previous)
    source = open_array(f"{root}/{key.level - 1}", missing="fill")  # what was given up is 0
    coarse = np.zeros(core.shape, source.dtype)
    pieces = BlockGrid(region=core, core_shape=_divided(spec.shards, step), margin=(0, 0, 0))
    for piece in pieces.blocks():
        region = _finer(piece.core, step).intersection(finer)
        assert region is not None
        data = source.read(region)
        # A region may begin in the middle of a coarse voxel: its first voxels then stand for the missing ones.
        lead = [a % s for a, s in zip(region.start, step, strict=True)]
        if any(lead):
            data = np.pad(data, [(n, 0) for n in lead], mode="edge")
        coarse[piece.core.within(core)] = downsample(data, step)
    open_array(f"{root}/{key.level}").write(core, coarse)
    return BlockResult(name=key.name)


def _finer(region: Region, step: Triple) -> Region:
    """The voxels of a finer level that a region spans."""
    start, stop = ([a * s for a, s in zip(end, step, strict=True)] for end in (region.start, region.stop))
    return Region(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))


def _divided(shape: Triple, step: Triple) -> Triple:
    z, y, x = (n // s for n, s in zip(shape, step, strict=True))
    return z, y, x
