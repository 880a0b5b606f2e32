"""``mitoscale run``: everything, from source to report."""

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
@click.option("--labels-into-source", is_flag=True, help="Write labels into the source OME-Zarr.")
@mask_option
@gaps_option
@reading_options
@request_options
@where_options
def run(src: str, run: str, request: RunRequest, cluster: str | None, workers: int | None, performance_report: str | None) -> None:
    """Find mitochondria in SRC and keep everything in RUN.

    SRC is a TIFF, a folder or glob of TIFF, PNG or JPEG slices, HDF5 (file.h5:/dataset), MRC, raw bytes (--shape, --dtype), or an
    OME-Zarr, Zarr array, N5 or Neuroglancer precomputed volume: by path, or as s3://, gs:// or https:// address. RUN is a folder or
    an s3:// address; credentials come from where AWS's own tools look for them.

    \b
    Example:  mitoscale run stack.tif RUN --voxel-size 5,5,5
    Start it again after a stop: what is done stays done.
    """
    from mitoscale.cli.launch import cluster_settings, run_stages, tell, tell_choice
    from mitoscale.core.settings import STAGES
    from mitoscale.pipeline import planned, start, taken_back
    from mitoscale.stages.source import open_source

    source = open_source(src, request.voxel_size, request.reading)
    where = cluster_settings(cluster, workers)
    begun = start(planned(source, run, request, where.threads), request.redo)
    tell(source)
    tell_choice(begun.plan)
    with taken_back(begun):
        run_stages(begun, STAGES, where, redo=request.redo, reports=performance_report)
