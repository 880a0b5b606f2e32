"""From a source or a run to the forecast of its cost, and that as text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import psutil

from mitoscale.cli.launch import tell, tell_choice
from mitoscale.cluster.clusters import ClusterSettings, default_workers
from mitoscale.cluster.units import bytes_of
from mitoscale.core.errors import InputError
from mitoscale.core.forecast import FORMULA, Calibration, Forecast, StageForecast, check, forecast
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.core.request import RunRequest
from mitoscale.pipeline import load
from mitoscale.pipeline import planned as run_planned
from mitoscale.pipeline.calibration import calibrate, measured
from mitoscale.stages.source import open_source
from mitoscale.storage.addresses import join
from mitoscale.storage.layout import free_bytes
from mitoscale.storage.run_places import holds_run

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
    """Forecast of the volume itself."""
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
    if holds_run(src):
        if request != RunRequest():
            raise InputError(f"plan: {src} is a run, which has settings of its own; leave out the options, or give its source")
        there = load(src)
        plan, costs = there.plan, measured(there)
    else:
        source = open_source(src, request.voxel_size, request.reading)
        plan = run_planned(source, join(into, "mitoscale-run"), request, cluster.threads)
        tell(source)
        tell_choice(plan)
        costs = calibrate(plan, blocks)
    groups = cluster.all_groups
    networks = groups.get("gpu") or groups.get("io") or next(iter(groups.values()))
    sized = networks.workers or networks.adaptive or cluster.kind in ("slurm", "kubernetes")
    workers = networks.most if sized else default_workers(cluster.threads)
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


_COLUMNS = {
    "": -12,
    "blocks": 12,
    "tasks": 12,
    "files": 13,
    "after clean": 13,
    "TB on disk": 12,
    "read TB": 10,
    "hours": 12,
    "wall": 22,
    "scheduler": 11,
    "bundle": 8,
    "client GB": 11,
    "merge GB": 10,
}
"""Title -> width; a negative one is set flush left."""


def as_text(found: Planned) -> str:
    """Stages of the volume itself, then the volume beside larger ones, then the formula."""
    kind = "GPU-hours" if found.gpu else "CPU-hours"
    lines = [
        f"{found.source}: {found.own.voxels / 1e6:.1f} Mvoxel; {found.slots} tasks at once",
        f"calibrated on {found.costs.blocks} block{'s' if found.costs.blocks > 1 else ''}",
        f"{'stage':10}{'tasks':>12}{'read GB':>12}{'written GB':>12}{kind:>12}{'wall':>22}{'bundle':>8}{'scheduler s':>13}",
    ]
    for stage in found.own.stages:
        numbers = f"{stage.tasks:>12}{stage.bytes_read / 1e9:>12.2f}{stage.bytes_written / 1e9:>12.2f}{stage.hours:>12.3f}"
        lines.append(f"{stage.name:10}{numbers}{_time(stage.wall_hours):>22}{stage.bundle:>8}{stage.load_hours * 3600:>13.2f}")
    large = found.larger["1 TB"].stages
    pairs = zip(found.own.stages, large, strict=True)
    lines += [_network(own, most) for own, most in pairs if own.network_pixels_per_voxel]
    lines += [
        "",
        f"memory of a worker  {_memory(found.own.worker_bytes)}",
        "",
        _cells(*(kind if title == "hours" else title for title in _COLUMNS)),
        _row("this", found.own),
    ]
    lines += [_row(name, forecast) for name, forecast in found.larger.items()]
    return "\n".join([*lines, "", FORMULA])


def _memory(measured: float | None) -> str:
    return "not measured: give the source, and blocks are tried" if measured is None else f"{measured / 1e9:.2f} GB (measured)"


def _network(own: StageForecast, large: StageForecast) -> str:
    pixels = f"{own.network_pixels_per_voxel:.2f} network pixels a voxel here, {large.network_pixels_per_voxel:.2f} at 1 TB"
    rate = f"{own.network_pixels_per_second / 1e6:.2f} Mpixel/s a device"
    return f"{own.name:10}{pixels}; {rate}: {large.device_hours_per_teravoxel:.1f} device hours a teravoxel"


def _row(name: str, found: Forecast) -> str:
    tasks, read = sum(s.tasks for s in found.stages), sum(s.bytes_read for s in found.stages)
    return _cells(
        name,
        str(found.blocks),
        str(tasks),
        str(found.files),
        str(found.kept_files),
        f"{found.stored_bytes / 1e12:.3f}",
        f"{read / 1e12:.3f}",
        f"{found.hours:.1f}",
        _time(found.wall_hours),
        f"{found.scheduler_load:.1%}",
        str(found.bundle),
        f"{found.client_bytes / 1e9:.2f}",
        f"{found.merge_bytes / 1e9:.2f}",
    )


def _cells(*cells: str) -> str:
    widths = _COLUMNS.values()
    return "".join(c.ljust(-w) if w < 0 else c.rjust(w) for c, w in zip(cells, widths, strict=True))


def _time(hours: float) -> str:
    return str(timedelta(seconds=round(hours * 3600)))
