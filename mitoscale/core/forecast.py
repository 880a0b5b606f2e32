"""What a run will take: blocks, bytes, files, memory and time, as formulas over what a few real blocks took.

A task's time follows the voxels it computes, margins included; so a stage takes *seconds a voxel computed* (measured) x *voxels
computed by all blocks* (geometry). Wall time is that over the tasks computed at once, and never less than client and scheduler need
(:mod:`mitoscale.core.overhead`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Triple
from mitoscale.core.grid import SUPER_BLOCK
from mitoscale.core.overhead import (
    BLOCK_SECONDS,
    BUSY,
    GROWTH_BYTES,
    LARGEST,
    SOURCE_BYTES,
    STANDING_BYTES,
    TASK_SECONDS,
    bundle_size,
    client_bytes,
    load_seconds,
)
from mitoscale.core.plan import RunPlan
from mitoscale.core.settings import STAGES

FORMULA = (
    "hours = sum over stages of (seconds a voxel computed, measured) x (voxels computed by all blocks, margins included) / 3600; "
    "bytes = (bytes a core voxel, measured) x voxels\n"
    "device hours a teravoxel = (network pixels a voxel) x 10^12 / (network pixels a second of one device, measured) / 3600\n"
    "scheduler s = tasks / bundle x "
    f"{1e3 * TASK_SECONDS:g} ms + tasks x {1e3 * BLOCK_SECONDS:g} ms, client and scheduler together; "
    "wall = sum over stages of the larger of hours / tasks at once and scheduler s\n"
    f"bundle = tasks at once x {1e3 * TASK_SECONDS:g} ms / ({BUSY:g} x seconds a task), 1 to {LARGEST}: so many blocks travel "
    "together; each is still done, given up and tried again by itself\n"
    f"client GB = blocks x 2 x {SOURCE_BYTES} bytes (ledgers of two earlier stages) + most tasks of a stage x "
    f"({STANDING_BYTES} (its own ledger) + {GROWTH_BYTES} (kept of each task)) bytes"
)


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What a stage took on real blocks."""

    seconds_per_voxel: float
    """Seconds of a task for each voxel its blocks compute; see :func:`voxels_computed`."""
    read_per_voxel: float
    """Bytes read for each voxel its blocks read, before compression; see :func:`voxels_read`."""
    written_per_voxel: float
    """Bytes written for each of these voxels, before compression."""
    network_pixels_per_voxel: float = 0.0
    """Pixels that went through its network for each of the voxels that they grow with (:func:`voxels_of_network`); 0 where it has
    none that counts."""
    network_pixels_per_second: float = 0.0
    """How many of them one device computes in a second."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a few real blocks took."""

    blocks: int
    """Number of blocks that were measured."""
    stages: Mapping[str, StageCost]
    """Each stage's cost."""
    stored_per_voxel: float
    """Bytes on the disk for each core voxel, compressed, all arrays and tables together."""
    fragments_per_block: float
    """Fragments of a block."""
    worker_bytes: float | None = None
    """Most memory the process had that computed them; None: it was another one, which nobody measured."""


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """What a stage will take."""

    name: str
    """The stage."""
    tasks: int
    """Its tasks."""
    hours: float
    """Of all its tasks together."""
    bytes_read: float
    """Bytes before compression."""
    bytes_written: float
    """Bytes before compression."""
    wall_hours: float
    """With all workers."""
    bundle: int
    """Tasks that travel as one through client and scheduler."""
    load_hours: float
    """Time of client and scheduler."""
    network_pixels_per_voxel: float
    """Pixels that go through its network for each voxel of the volume; 0 where it has none that counts."""
    network_pixels_per_second: float
    """How many of them one device computes in a second, as measured."""

    @property
    def device_hours_per_teravoxel(self) -> float:
        """Hours that the network keeps one device busy for 10^12 voxels of such a volume; 0 where it has none that counts."""
        return self.network_pixels_per_voxel * 1e12 / max(self.network_pixels_per_second, 1e-9) / 3600


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take."""

    voxels: int
    """Voxels worked on."""
    blocks: int
    """Blocks."""
    files: int
    """Most files (inodes) while it runs, working files included."""
    kept_files: int
    """Files that stay after ``clean``."""
    stored_bytes: float
    """Bytes on the disk."""
    worker_bytes: float | None
    """Memory of a worker; None: not measured."""
    merge_bytes: float
    """Memory of the client while it merges fragments and numbers objects."""
    client_bytes: float
    """Memory of client and scheduler that follows the number of blocks."""
    stages: tuple[StageForecast, ...]
    """Each stage."""

    @property
    def hours(self) -> float:
        """Hours of all tasks together."""
        return sum(stage.hours for stage in self.stages)

    @property
    def wall_hours(self) -> float:
        """Hours from start to end."""
        return sum(stage.wall_hours for stage in self.stages)

    @property
    def scheduler_load(self) -> float:
        """Part of the time that client and scheduler are busy, 0..1."""
        return min(1.0, sum(stage.load_hours for stage in self.stages) / max(self.wall_hours, 1e-9))

    @property
    def bundle(self) -> int:
        """Tasks that travel as one where most do."""
        return max((stage.bundle for stage in self.stages), default=1)


def voxels_read(plan: RunPlan, stage: str) -> int:
    """Voxels that all blocks of a stage read, each block's halo counted.

    Along each axis the read regions of all blocks add up to the length and two margins at each inner face.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of ``STAGES``.
    """
    return _voxels(plan, stage, plan.detect_grid.margin)


def voxels_computed(plan: RunPlan, stage: str) -> int:
    """Voxels that all blocks of a stage compute: as many as they read, but a U-Net only reads the slices beyond a core.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of its stages.
    """
    _, y, x = plan.detect_grid.margin
    return _voxels(plan, stage, (0, y, x))


def voxels_of_network(plan: RunPlan, stage: str) -> int:
    """Voxels that the network pixels of a stage grow with: those it computes, but SAM is asked for the cores alone.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of its stages.
    """
    cores = stage == "segment" and not plan.settings.segment.asks_all
    return plan.region.size if cores else voxels_computed(plan, stage)


def _voxels(plan: RunPlan, stage: str, detect_margin: Triple) -> int:
    grid = plan.detect_grid if stage == "detect" else plan.grid if stage in ("segment", "stitch") else plan.convert_grid
    margin: Triple = detect_margin if stage == "detect" else grid.margin if stage == "segment" else (0, 0, 0)
    return math.prod(n + 2 * m * (c - 1) for n, m, c in zip(plan.region.shape, margin, grid.counts, strict=True))


def forecast(plan: RunPlan, costs: Calibration, slots: int) -> Forecast:
    """What a run will take.

    Parameters
    ----------
    plan : RunPlan
        The run.
    costs : Calibration
        What real blocks took.
    slots : int
        Tasks computed at once.
    """
    stages = tuple(_stage(plan, name, costs, slots) for name in STAGES if name in costs.stages)
    blocks, voxels = len(plan.grid), plan.region.size
    fragments = blocks * costs.fragments_per_block
    merged = min(fragments, SUPER_BLOCK**3 * costs.fragments_per_block)
    return Forecast(
        voxels=voxels,
        blocks=blocks,
        files=plan.file_count,
        kept_files=plan.kept_file_count,
        stored_bytes=costs.stored_per_voxel * voxels,
        worker_bytes=costs.worker_bytes,
        merge_bytes=64 * merged + 24 * fragments,
        client_bytes=client_bytes(blocks, max((stage.tasks for stage in stages), default=0)),
        stages=stages,
    )


def check(found: Forecast, *, worker_limit: float | None, client_limit: float, free: float) -> None:
    """Raise where a run cannot fit.

    Parameters
    ----------
    found : Forecast
        What the run needs.
    worker_limit : float or None
        Memory of a worker in bytes; None: not limited.
    client_limit : float
        Memory of the client's machine in bytes.
    free : float
        Free bytes where the run will lie.

    Raises
    ------
    InputError
        Naming the stage, what it needs, the limit and the cure.
    """
    if worker_limit is not None and found.worker_bytes is not None and found.worker_bytes > worker_limit:
        raise InputError(
            f"segment: a worker needs {found.worker_bytes / 1e9:.1f} GB, it has {worker_limit / 1e9:.1f} GB; "
            "choose smaller blocks with --block, or give workers more memory in the cluster file"
        )
    if found.merge_bytes > client_limit:
        raise InputError(
            f"stitch: the merge needs {found.merge_bytes / 1e9:.1f} GB, this machine has {client_limit / 1e9:.1f} GB; "
            "choose larger blocks with --block, or start the run on a machine with more memory"
        )
    if found.client_bytes > client_limit:
        raise InputError(
            f"stitch: the client needs {found.client_bytes / 1e9:.1f} GB for {found.blocks} blocks, this machine has "
            f"{client_limit / 1e9:.1f} GB; choose larger blocks with --block, or start the run on a machine with more memory"
        )
    if found.stored_bytes > free:
        raise InputError(
            f"convert: the run needs {found.stored_bytes / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free; "
            "free space, or give another folder with --into"
        )


def _stage(plan: RunPlan, name: str, costs: Calibration, slots: int) -> StageForecast:
    cost, voxels, tasks = costs.stages[name], voxels_read(plan, name), plan.task_count(name)
    computed = voxels_computed(plan, name)
    seconds = cost.seconds_per_voxel * computed
    bundle = bundle_size(seconds / max(1, tasks), slots)
    load = load_seconds(tasks, bundle)
    return StageForecast(
        name=name,
        tasks=tasks,
        hours=seconds / 3600,
        bytes_read=cost.read_per_voxel * voxels,
        bytes_written=cost.written_per_voxel * voxels,
        wall_hours=max(seconds / max(1, min(slots, tasks)), load) / 3600,
        bundle=bundle,
        load_hours=load / 3600,
        network_pixels_per_voxel=cost.network_pixels_per_voxel * voxels_of_network(plan, name) / plan.region.size,
        network_pixels_per_second=cost.network_pixels_per_second,
    )
