"""Writing a block on all levels of a pyramid: each level's shards span the same space, so a block has its own on each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.volume import VolumeSpec
from mitoscale.stages.stage import Stopwatch
from mitoscale.storage.arrays import open_array


def write_levels(
    root: str,
    spec: VolumeSpec,
    core: Region,
    data: np.ndarray,
    downsample: Callable[[np.ndarray, Triple], np.ndarray],
    watch: Stopwatch,
) -> None:
    """Write a core on all levels of an image or of labels.

    Parameters
    ----------
    root : str
        OME-Zarr image or labels group.
    spec : VolumeSpec
        Its levels.
    core : Region
        What is written, in level-0 voxels.
    data : (Z, Y, X)
        Level-0 values of the core.
    downsample : callable
        Halves an array along the axes whose factor is 2.
    watch : Stopwatch
        Where the time goes.
    """
    previous: Triple = (1, 1, 1)
    for level, factor in enumerate(spec.factors):
        if level:
            with watch.phase("compute"):
                step = tuple(f // p for f, p in zip(factor, previous, strict=True))
                # A region may begin in the middle of a coarse voxel: its first voxels then stand for the missing ones.
                lead = [a % s for a, s in zip(core.downsampled(previous).start, step, strict=True)]
                if any(lead):
                    data = np.pad(data, [(n, 0) for n in lead], mode="edge")
                data = downsample(data, step)  # type: ignore[arg-type]
        with watch.phase("write"):
            open_array(f"{root}/{level}").write(core.downsampled(factor), data)
            watch.moved("written", data)
        previous = factor
