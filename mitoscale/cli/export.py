"""``mitoscale export``: a run's results for other programs."""

from __future__ import annotations

import click

_TABLES = {"objects": "objects", "detections": "detections", "edges": "edges_table"}


@click.command()
@click.argument("run")
@click.option("--to", "target", required=True, metavar="PATH", help="x.tif, x.ome.tif, x.csv, or a folder/ for one TIFF a slice.")
@click.option(
    "--table",
    type=click.Choice(list(_TABLES)),
    default="objects",
    show_default=True,
    help="Which table a .csv gets.",
)
def export(run: str, target: str, table: str) -> None:
    """Write the labels of RUN as TIFF (one file, OME-TIFF, or a folder of slices), or a table as CSV.

    \b
    Example:  mitoscale export RUN --to labels.ome.tif
              mitoscale export RUN --to slices/
              mitoscale export RUN --to detections.csv --table detections
    """
    import os

    from mitoscale import pipeline
    from mitoscale.core.errors import InputError
    from mitoscale.storage.arrays import open_array
    from mitoscale.storage.label_export import export_slices, export_tiff
    from mitoscale.storage.layout import RunFolder, check_writable
    from mitoscale.storage.tables import read_table, write_csv

    there = pipeline.load(run)
    check_writable(os.path.dirname(os.path.abspath(target)))
    kind = os.path.splitext(target)[1].lower()
    if kind == ".csv":
        write_csv(target, read_table(getattr(RunFolder(there.plan.run), _TABLES[table])))
    elif not pipeline.finished(there, "relabel"):
        raise InputError(f"{run} has no finished labels yet; finish it with mitoscale run")
    else:
        labels = open_array(f"{there.plan.labels}/0", missing="fill")
        if kind in (".tif", ".tiff"):
            export_tiff(labels, target, there.plan.spec.spacing)
        elif not kind or target.endswith("/"):
            export_slices(labels, target, there.plan.spec.spacing)
        else:
            raise InputError(f"--to {target}: {kind} is not known; it may end in .tif, .ome.tif or .csv, or be a folder")
    click.echo(f"written    {target}")
