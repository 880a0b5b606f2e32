"""From a source or a run to the forecast of its cost."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from mitoscale.cli.launch import tell
from mitoscale.cluster.clusters import ClusterSettings, default_workers
from mitoscale.cluster.units import bytes_of
from mitoscale.core.forecast import Calibration, Forecast, check, forecast
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.core.request import RunRequest
from mitoscale.pipeline import load, make_plan, settings_for
from mitoscale.pipeline.calibration import calibrate, measured
from mitoscale.stages.source import open_source
from mitoscale.storage.layout import free_bytes

LARGER = {"1 TB": 1e12, "10 TB": 1e13, "100 TB": 1e14}
"""Bytes of the volumes that are told as well."""

MANY = {"10^6 blocks": (100, 100, 100), "10^7 blocks": (200, 200, 250)}
"""Blocks (z, y, x) of further ones."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What is told."""

    source: str
    """The source or run."""
    costs: Calibration
    """What real blocks took."""
    slots: int
    """Tasks computed at once."""
    gpu: bool
    """Whether the networks have GPUs."""
    own: Forecast
    """Of the volume itself."""
    larger: dict[str, Forecast]
    """Of larger volumes, in the same blocks."""


def planned(src: str, blocks: int, into: str, request: RunRequest, cluster: ClusterSettings) -> Planned:
    """Calibrate and forecast.

    Parameters
    ----------
    src : str
        A source, or a run.
    blocks : int
        Real blocks to try.
    into : str
        Folder the run will lie in.
    request : RunRequest
        What is asked of a run on a source.
    cluster : ClusterSettings
        Where it would run.

    Raises
    ------
    InputError
        If the run cannot fit.
    """
    if Path(src, "run.json").exists():
        there = load(src)
        plan, costs = there.plan, measured(there)
    else:
        source = open_source(src, request.voxel_size, request.reading)
        plan = make_plan(source, os.path.join(into, "mitoscale-run"), settings_for(source, request, cluster.threads))
        tell(source)
        costs = calibrate(plan, blocks)
    groups = cluster.all_groups
    networks = groups.get("gpu") or groups.get("io") or next(iter(groups.values()))
    workers = networks.most if networks.workers or networks.adaptive else default_workers(cluster.threads)
    slots = workers * networks.tasks
    own = forecast(plan, costs, slots)
    check(
        own,
        worker_limit=float(bytes_of(networks.memory)) if networks.memory else None,
        client_limit=float(psutil.virtual_memory().total),
        free=float(free_bytes(into)),
    )
    shapes = {name: _cube(plan, size) for name, size in LARGER.items()}
    for name, counts in MANY.items():
        z, y, x = (n * c for n, c in zip(counts, plan.core, strict=True))
        shapes[name] = (z, y, x)
    larger = {name: forecast(grown(plan, shape), costs, slots) for name, shape in shapes.items()}
    return Planned(source=src, costs=costs, slots=slots, gpu=networks.gpus > 0, own=own, larger=larger)


def _cube(plan: RunPlan, size: float) -> Triple:
    """Shape of a cube of ``size`` bytes."""
    item = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2}.get(plan.spec.dtype, 4)
    edge = round((size / item) ** (1 / 3))
    return edge, edge, edge


def grown(plan: RunPlan, shape: Triple) -> RunPlan:
    """The same run on a volume of another shape.

    Parameters
    ----------
    plan : RunPlan
        The run.
    shape : (z, y, x)
        Shape of the other volume, in voxels.
    """
    convert = plan.settings.convert.model_copy(update={"region": Region.of_shape(shape)})
    settings = plan.settings.model_copy(update={"convert": convert})
    return plan.model_copy(update={"spec": plan.spec.model_copy(update={"shape": shape}), "settings": settings})
