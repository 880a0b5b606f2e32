"""The report's table of stages: tasks, seconds, speed, and what their networks computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mitoscale.core.grid import COARSE
from mitoscale.core.network_cost import as_text, pixels_per_voxel
from mitoscale.report.content import Table
from mitoscale.storage.ledger import LedgerEntry, last_line

_PHASES = ("read", "compute", "write")
_COUNTS = ("voxels", "network_pixels", "prompts")


def stage_totals(entries: Iterable[LedgerEntry], given_up: dict[str, str]) -> dict[str, float]:
    """Tasks, quarantined tasks, counts and seconds of a stage, added up over its latest ledger lines.

    The tasks are those of :meth:`mitoscale.core.plan.RunPlan.task_count`: those that make coarser levels are not among them.

    Parameters
    ----------
    entries : iterable of LedgerEntry
        From :meth:`mitoscale.storage.ledger.Ledger.latest`.
    given_up : dict
        Gets each task that was given up, with the last line of what it raised.
    """
    totals = dict.fromkeys(("tasks", "wall", "quarantined", *_COUNTS, *_PHASES), 0.0)
    for entry in entries:
        if entry.name == "finished":
            totals["wall"] = entry.seconds.get("wall", 0.0)
            continue
        if entry.name.startswith(COARSE):
            continue
        totals["tasks"] += 1
        if entry.state == "quarantined":
            totals["quarantined"] += 1
            given_up[entry.name] = last_line(entry.error)
        for count in _COUNTS:
            totals[count] += entry.counts.get(count, 0.0)
        for phase in _PHASES:
            totals[phase] += entry.seconds.get(phase, 0.0)
    return totals


def stage_table(totals: Mapping[str, Mapping[str, float]]) -> Table:
    """The table.

    Parameters
    ----------
    totals : mapping
        Stage -> what :func:`stage_totals` gave for it.
    """
    rows = []
    for name, t in totals.items():
        speed = f"{t['voxels'] / 1e6 / t['wall']:.2f}" if t["wall"] and t["voxels"] else ""
        prompts = f"{t['prompts']:.0f}" if t["prompts"] else ""
        times = (f"{t[p]:.1f}" for p in _PHASES)
        rows.append((name, f"{t['tasks']:.0f}", f"{t['wall']:.1f}", speed, as_text(pixels_per_voxel(t)), prompts, *times))
    head = ("stage", "tasks", "wall (s)", "Mvoxel/s", "network pixels a voxel", "prompts", "read (s)", "compute (s)", "write (s)")
    return Table(head=head, rows=rows)
