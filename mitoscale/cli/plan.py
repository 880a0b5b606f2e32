"""``mitoscale plan``: what a run will take, before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mitoscale.cli.options import Numbers, request_options, where_options
from mitoscale.cli.source_options import gaps_option, mask_option, reading_options

if TYPE_CHECKING:
    from mitoscale.core.request import RunRequest


@click.command()
@click.argument("src")
@click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the source does not tell it.")
@click.option("--blocks", type=click.IntRange(min=1), default=2, metavar="N", help="Real blocks to try, side by side.")
@click.option("--into", default=".", metavar="FOLDER", help="Where the run folder will lie: its free space is looked at.")
@mask_option
@gaps_option
@reading_options
@request_options
@where_options
def plan(
    src: str,
    blocks: int,
    into: str,
    request: RunRequest,
    cluster: str | None,
    workers: int | None,
    performance_report: str | None,
) -> None:
    """Tell blocks, files, bytes, memory and time of a run on SRC, a source or a finished RUN, and for 1, 10 and 100 TB.

    \b
    Example:  mitoscale plan stack.tif --voxel-size 5,5,5 --cluster cluster.yaml
    A few real blocks are computed to know what yours take. Exits with 1, naming stage, need and limit, where it cannot fit.
    """
    from mitoscale.cli.launch import cluster_settings
    from mitoscale.cli.planning import as_text, planned

    click.echo(as_text(planned(src, blocks, into, request, cluster_settings(cluster, workers))))
