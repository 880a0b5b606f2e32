"""A forecast as text."""

from __future__ import annotations

from datetime import timedelta

from mitoscale.cli.planning import Planned
from mitoscale.core.forecast import FORMULA, Forecast, StageForecast

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
        f"calibrated on {found.costs.blocks} blocks",
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
        f"memory of a worker  {found.own.worker_bytes / 1e9:.2f} GB (measured)",
        "",
        _cells(*_COLUMNS),
        _row("this", found.own),
    ]
    lines += [_row(name, forecast) for name, forecast in found.larger.items()]
    return "\n".join([*lines, "", FORMULA])


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
