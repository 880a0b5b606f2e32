"""The coarser levels of a pyramid: a shard spans several blocks, so it is written once all of these are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid, CoarseShard
from mitoscale.core.plan import RunPlan
from mitoscale.core.result import BlockResult
from mitoscale.ops.downsample import mean_downsample
from mitoscale.storage.addresses import join
from mitoscale.storage.arrays import open_array
from mitoscale.storage.creation import create_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.stored_files import is_file


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
    previous = spec.factors[key.level - 1]
    step, finer = _step(plan, key.level), plan.region.downsampled(previous)
    source = open_array(f"{root}/{key.level - 1}", missing="fill")  # what was given up is 0
    coarse = np.zeros(core.shape, source.dtype)
    pieces = BlockGrid(region=core, core_shape=_divided(spec.shards, step), margin=(0, 0, 0))
    for piece in () if key.empty else pieces.blocks():
        region = _finer(piece.core, step).intersection(finer)
        assert region is not None
        fine = source.read(region)
        if fine.any():
            coarse[piece.core.within(core)] = downsample(_padded(fine, region, step), step)
    open_array(f"{root}/{key.level}").write(core, coarse)
    return BlockResult(name=key.name)


def create_parts(plan: RunPlan) -> None:
    """Make the array that takes level 1 as tasks make it of what they hold: a file a row of blocks, so each has one writer.

    Parameters
    ----------
    plan : RunPlan
        The run.
    """
    step, row = _step(plan, 1), plan.convert_grid.core_shape
    create_array(
        RunFolder(plan.run).coarse_parts,
        shape=plan.spec.level_shape(1),
        dtype=plan.spec.dtype,
        chunks=_divided(plan.spec.shards, step),
        shards=_divided(row, step),
        compressed=False,
    )


def write_part(plan: RunPlan, core: Region, image: np.ndarray) -> None:
    """Halve what a convert task holds; nothing where the pyramid is there already and only a shard is mended.

    Parameters
    ----------
    plan : RunPlan
        The run.
    core : Region
        Of the task.
    image : (Z, Y, X)
        Its grey values.
    """
    path = RunFolder(plan.run).coarse_parts
    if is_file(join(path, "zarr.json")):
        step = _step(plan, 1)
        open_array(path).write(core.downsampled(step), mean_downsample(_padded(image, core, step), step))


def write_from_parts(root: str, plan: RunPlan, key: CoarseShard) -> BlockResult | None:
    """Bring a shard of level 1 together from the tasks' parts, so that level 0 is not read again; None where one is missing.

    Parameters
    ----------
    root : str
        OME-Zarr image.
    plan : RunPlan
        The run.
    key : CoarseShard
        The shard.
    """
    try:
        coarse = open_array(RunFolder(plan.run).coarse_parts).read(key.part.core)
    except (BlockError, InputError):
        return None
    open_array(f"{root}/{key.level}").write(key.part.core, coarse)
    return BlockResult(name=key.name)


def _step(plan: RunPlan, level: int) -> Triple:
    """Voxels (z, y, x) of the level before that make one of a level."""
    finer, coarser = plan.spec.factors[level - 1], plan.spec.factors[level]
    return _divided(coarser, finer)


def _padded(data: np.ndarray, region: Region, step: Triple) -> np.ndarray:
    """A region may begin in the middle of a coarse voxel: its first voxels then stand for the missing ones."""
    lead = [a % s for a, s in zip(region.start, step, strict=True)]
    return np.pad(data, [(n, 0) for n in lead], mode="edge") if any(lead) else data


def _finer(region: Region, step: Triple) -> Region:
    """The voxels of a finer level that a region spans."""
    start, stop = ([a * s for a, s in zip(end, step, strict=True)] for end in (region.start, region.stop))
    return Region(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))


def _divided(shape: Triple, step: Triple) -> Triple:
    z, y, x = (n // s for n, s in zip(shape, step, strict=True))
    return z, y, x
