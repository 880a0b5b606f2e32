"""``mitoscale convert``: the first stage alone."""

from __future__ import annotations

from typing import Any

import click

from mitoscale.cli.options import Numbers, setting_options, where_options


@click.command()
@click.argument("src")
@click.argument("run")
@click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the source does not tell it.")
@setting_options
@where_options
def convert(src: str, run: str, **options: Any) -> None:
    """Turn SRC into RUN/volume.zarr, an OME-Zarr with a pyramid.

    \b
    Example:  mitoscale convert slices/ RUN --voxel-size 50,4.6,4.6
    """
    from mitoscale.cli.launch import run_stages, settings_for, threads_of
    from mitoscale.pipeline import make_plan, start, taken_back
    from mitoscale.stages.source import open_source

    source = open_source(src, options["voxel_size"])
    settings = settings_for(source, options, threads_of(options))
    begun = start(make_plan(source, run, settings), source.value_range, options["redo"])
    with taken_back(begun):
        run_stages(begun, ["convert"], options)
