"""``mitoscale convert``: the first stage alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mitoscale.cli.options import Numbers, request_options, where_options
from mitoscale.cli.source_options import gaps_option, mask_option, reading_options

if TYPE_CHECKING:
    from mitoscale.core.request import RunRequest


@click.command()
@click.argument("src")
@click.argument("run")
@click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the source does not tell it.")
@mask_option
@gaps_option
@reading_options
@request_options
@where_options
def convert(
    src: str, run: str, request: RunRequest, cluster: str | None, workers: int | None, performance_report: str | None
) -> None:
    """Turn SRC into RUN/volume.zarr, an OME-Zarr with a pyramid.

    \b
    Example:  mitoscale convert slices/ RUN --voxel-size 50,4.6,4.6
    """
    from mitoscale.cli.launch import cluster_settings, run_stages, tell
    from mitoscale.pipeline import planned, start, taken_back
    from mitoscale.stages.source import open_source

    source = open_source(src, request.voxel_size, request.reading)
    where = cluster_settings(cluster, workers)
    begun = start(planned(source, run, request, where.threads, choose=False), request.redo)
    tell(source)
    with taken_back(begun):
        run_stages(begun, ["convert"], where, redo=request.redo, reports=performance_report)
