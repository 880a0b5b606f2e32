"""``mitoscale run``: everything, from source to report."""

from __future__ import annotations

from typing import Any

import click

from mitoscale.cli.options import Numbers, setting_options, where_options


@click.command()
@click.argument("src")
@click.argument("run")
@click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the source does not tell it.")
@click.option("--labels-into-source", is_flag=True, help="Write labels into the source OME-Zarr.")
@setting_options
@where_options
def run(src: str, run: str, **options: Any) -> None:
    """Find mitochondria in SRC (a TIFF file, a folder or glob of slices, or an OME-Zarr) and keep everything in RUN.

    \b
    Example:  mitoscale run stack.tif RUN --voxel-size 5,5,5
    Start it again after a stop: what is done stays done.
    """
    from mitoscale.cli.launch import run_stages, settings_for, threads_of
    from mitoscale.core.settings import STAGES
    from mitoscale.pipeline import make_plan, start, taken_back
    from mitoscale.stages.source import open_source

    source = open_source(src, options["voxel_size"])
    settings = settings_for(source, options, threads_of(options))
    plan = make_plan(source, run, settings, options["labels_into_source"])
    begun = start(plan, source.value_range, options["redo"])
    with taken_back(begun):
        run_stages(begun, STAGES, options)
