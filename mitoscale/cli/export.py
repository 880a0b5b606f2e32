"""``mitoscale export``: a run's results for other programs."""

from __future__ import annotations

import os

import click

_TABLES = {"objects": "objects", "detections": "detections", "edges": "edges_table", "cells": "cells"}


@click.command()
@click.argument("run")
@click.option("--to", "target", required=True, metavar="PATH", help="x.tif, x.ome.tif, x.csv, or a folder/ for one TIFF a slice.")
@click.option("--table", type=click.Choice(list(_TABLES)), help="Which table a .csv gets; only for a .csv (default: objects).")
@click.option("--edits", is_flag=True, help="The corrected labels and objects, which mitoscale apply has written.")
def export(run: str, target: str, table: str | None, edits: bool) -> None:
    """Write the labels of RUN as TIFF (one file, OME-TIFF, or a folder of slices), or a table as CSV.

    Nothing is overwritten: PATH is a new file, or a new or empty folder, outside RUN.

    \b
    Example:  mitoscale export RUN --to labels.ome.tif
              mitoscale export RUN --to slices/
              mitoscale export RUN --to detections.csv --table detections
              mitoscale export RUN --to corrected.tif --edits
    """
    from mitoscale import pipeline
    from mitoscale.core.errors import BlockError, InputError
    from mitoscale.corrections.apply import current_corrections
    from mitoscale.storage.arrays import open_array
    from mitoscale.storage.label_export import export_slices, export_tiff
    from mitoscale.storage.layout import RunFolder, check_new, check_writable
    from mitoscale.storage.tables import read_table, write_csv

    kind = os.path.splitext(target)[1].lower()
    slices = not kind or target.endswith("/")
    if table and kind != ".csv":
        raise click.UsageError(f"--table {table} is for a file that ends in .csv, but --to {target} would get the labels")
    there = pipeline.load(run)
    if _within(target, there.plan.run):
        raise InputError(f"--to {target} lies in the run folder {run}, which holds the run's own files alone; give a path outside")
    if not (slices and os.path.isdir(target)):  # what a folder holds is looked at when it is written
        check_new(target, "--to")
    check_writable(os.path.dirname(os.path.abspath(target)))
    if table == "cells" and there.plan.settings.detect.mask is None:
        raise InputError(f"{run} was made without --mask: it has no cells")
    labels_path = there.plan.labels
    if edits:
        labels_path, objects = current_corrections(there.plan, pipeline.closing_of(there, "relabel"))
        if table in ("detections", "edges", "cells"):
            raise InputError(f"--edits changes objects alone; leave it away for --table {table}")
    if kind == ".csv":
        write_csv(target, read_table(objects if edits else getattr(RunFolder(there.plan.run), _TABLES[table or "objects"])))
    elif not pipeline.finished(there, "relabel"):
        raise InputError(f"{run} has no finished labels yet; finish it with mitoscale run")
    elif kind not in (".tif", ".tiff") and not slices:
        raise InputError(f"--to {target}: {kind} is not known; it may end in .tif, .ome.tif or .csv, or be a folder")
    else:
        gone = pipeline.missing_shards(there, "relabel")
        if gone:  # they would be read as background
            raise InputError(f"{run} lacks the labels of {len(gone)} blocks ({gone[0]}); start the same mitoscale run again")
        labels = open_array(f"{labels_path}/0", missing="fill")
        try:
            (export_slices if slices else export_tiff)(labels, target, there.plan.spec.spacing)
        except BlockError as error:
            cure = "start the same mitoscale run again with --redo relabel, which writes them anew"
            raise InputError(f"labels of {run} are broken ({error}); {cure}") from error
    click.echo(f"written    {target}")


def _within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it, links followed."""
    real = os.path.realpath(folder)
    return os.path.commonpath([os.path.realpath(path), real]) == real
