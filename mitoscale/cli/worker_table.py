"""The workers of a cluster as a table in the terminal."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from mitoscale.pipeline.cluster_diagnostics import ClusterCheck


def show_workers(check: ClusterCheck) -> None:
    """Print a row for each worker, then what is wrong."""
    table = Table(box=None, pad_edge=False)
    for heading in ("worker", "group", "host", "device", "tasks", "memory", "state"):
        table.add_column(heading)
    for worker in check.workers:
        found = worker.found
        memory = f"{worker.memory / 2**30:.1f} GiB" if worker.memory else "no limit"
        state = f"{len(worker.problems)} wrong" if worker.problems else "ok"
        host, device = (found.host, found.device) if found else ("?", "?")
        table.add_row(worker.name, worker.group or "any", host, device, str(worker.tasks), memory, state)
    Console(width=max(100, Console().width)).print(table)
    first = next((w.found for w in check.workers if w.found), None)
    if first:
        click.echo("versions   " + ", ".join(f"{name} {version}" for name, version in first.versions.items()))
        click.echo("weights    " + ", ".join(f"{name} {digest[:12]}" for name, digest in first.weights.items()))
    click.echo(f"dashboard  {check.dashboard}")
    for problem in check.problems:
        click.echo(f"mitoscale: {problem}", err=True)
