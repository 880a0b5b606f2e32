"""``mitoscale cluster``: try a cluster before a run does."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cluster() -> None:
    """Try what cluster.yaml says.

    \b
    Example:  mitoscale cluster check cluster.yaml
    """


@cluster.command()
@click.argument("file")
@click.option("--store", metavar="FOLDER", help="Folder (or s3://) of the runs: each worker reads and writes a file there.")
@click.option("--weights", multiple=True, metavar="WEIGHTS", help="Weights that each worker must read (default: the embedded).")
@click.option("--wait", type=click.IntRange(min=1), default=600, show_default=True, metavar="SECONDS", help="Wait for workers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def check(file: str, store: str | None, weights: tuple[str, ...], wait: int, as_json: bool) -> None:
    """Start the cluster of FILE, show what each worker has, and stop it. Exits with 1 where something is wrong.

    \b
    Example:  mitoscale cluster check cluster.yaml --store /shared/runs
    """
    import json

    from mitoscale.cli.worker_table import show_workers
    from mitoscale.cluster.cluster_file import load_cluster
    from mitoscale.pipeline.cluster_diagnostics import check_cluster

    found = check_cluster(load_cluster(file), store, weights, wait)
    if as_json:
        click.echo(json.dumps([worker.model_dump() for worker in found.workers]))
    else:
        show_workers(found)
    if found.problems:
        raise click.exceptions.Exit(1)
