"""``mitoscale export``: a run's results for other programs."""

from __future__ import annotations

from typing import Any

import click

from mitoscale.cli.options import Part

_TABLES = ("objects", "detections", "edges", "cells")
KINDS = ("tiff", "ome-tiff", "slices", "csv", "mrc", "n5", "zarr2", "precomputed", "mobie", "coco")
"""Names of all kinds, so that --help need not import them."""


@click.command()
@click.argument("run")
@click.option("--to", "target", required=True, metavar="PATH", help="File or folder to make; its ending tells the kind.")
@click.option("--kind", type=click.Choice(KINDS), help="What PATH is, where its ending does not tell.")
@click.option("--region", type=Part(), help="Only this part of the volume (voxels of level 0); of a table, what meets it.")
@click.option(
    "--level", type=click.IntRange(min=0), metavar="N", help="From this level of the pyramid on (default: 0, the finest)."
)
@click.option("--table", type=click.Choice(_TABLES), help="Which table a .csv gets; only for a .csv (default: objects).")
@click.option("--edits", is_flag=True, help="The corrected labels and objects, which mitoscale apply has written.")
@click.option("--renumber", is_flag=True, help="Labels from 1 on, for kinds of few bits; PATH.labels.csv tells those of RUN.")
def export(target: str, kind: str | None, level: int | None, table: str | None, **asked: Any) -> None:
    """Write the labels of RUN, or a table, for other programs: PATH appears when it is whole.

    \b
    x.tif, x.ome.tif   one TIFF (a slice at a time is in memory), with OME metadata
    slices/            a folder of TIFF slices
    x.csv              a table
    x.mrc              MRC, 16 bits (a slice at a time is in memory)
    x.n5               N5, all levels: /s0, /s1, ...
    x.precomputed      Neuroglancer: image/, labels/ with meshes and table (needs mitoscale[export])
    x.mobie            a MoBIE project for Fiji: image, labels, table
    x.coco             COCO: pictures of the slices and each object's mask (RLE)
    x.zarr             OME-Zarr 0.4 (Zarr v2), all levels, for tools that do not know Zarr v3

    Nothing is overwritten: PATH is a new file, or a new or empty folder, outside RUN.

    \b
    Example:  mitoscale export RUN --to labels.ome.tif
              mitoscale export RUN --to slices/ --region 0:64,0:512,0:512
              mitoscale export RUN --to part.mrc --region 0:64,0:512,0:512 --renumber
              mitoscale export RUN --to detections.csv --table detections
              mitoscale export RUN --to corrected.tif --edits
    """
    from mitoscale.cluster.signals import interruptible
    from mitoscale.export.exporting import Request, export_run

    csv = kind == "csv" or (kind is None and target.lower().endswith(".csv"))
    if table and not csv:
        raise click.UsageError(f"--table {table} is for a file that ends in .csv, but --to {target} would get the labels")
    if level is not None and csv:
        raise click.UsageError(f"--level {level} is for labels, but --to {target} gets a table")
    try:
        with interruptible():  # what is half-written is removed
            export_run(Request(target=target, kind=kind, level=level or 0, table=table, **asked))
    except KeyboardInterrupt as stop:
        raise click.Abort("nothing was kept") from stop
    click.echo(f"written    {target}")
