"""``mitoscale evaluate``: labels against truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mitoscale.cli.options import SliceRange, truth_option, where_options
from mitoscale.cli.source_options import reading_options

if TYPE_CHECKING:
    from mitoscale.core.source_choices import Reading


@click.command()
@click.argument("labels")
@click.argument("truth")
@click.option("--slices", type=SliceRange(), help="Only these slices (half-open); cropped before anything is labelled.")
@click.option(
    "--min-truth",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Ignore truth objects below N voxels (in 2D: pixels), and what was found mostly on them.",
)
@truth_option
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--scratch", metavar="FOLDER", help="Where small tables go meanwhile; workers on other machines must see it.")
@where_options
def evaluate(
    labels: str,
    truth: str,
    slices: tuple[int, int] | None,
    min_truth: int,
    truth_threshold: float | None,
    truth_dtype: str | None,
    reading: Reading,
    as_json: bool,
    scratch: str | None,
    cluster: str | None,
    workers: int | None,
) -> None:
    """Score LABELS against TRUTH; each is a run, or a volume of any kind that run reads.

    Volumes of any size, block by block: here, or with --workers or --cluster on a cluster. Of a run with --region, that part.

    \b
    Example:  mitoscale evaluate RUN truth.tif --slices 132:165 --json
              mitoscale evaluate RUN truth.zarr --cluster cluster.yaml --scratch /shared/tmp
    """
    import json
    from contextlib import ExitStack

    from mitoscale.cli.launch import cluster_settings, running
    from mitoscale.cli.progress import count_bar
    from mitoscale.evaluation.evaluate import evaluate as score

    with ExitStack() as stack:
        where = cluster_settings(cluster, workers) if cluster or workers else None
        executor = stack.enter_context(running(where)).executor if where else None
        scores = score(
            labels,
            truth,
            slices=slices,
            min_truth=min_truth,
            threshold=truth_threshold,
            reading=reading,
            truth_dtype=truth_dtype,
            executor=executor,
            scratch=scratch,
            observer=stack.enter_context(count_bar("evaluate")),
        )
    if as_json:
        click.echo(json.dumps(scores))
    else:
        _print_table(scores)


def _print_table(scores: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "score", "value", box=None, pad_edge=False, header_style="bold")
    table.columns[2].justify = "right"
    titles = {"foreground": "foreground", "objects_3d": "objects (3D)", "objects_2d": "profiles (2D)"}
    for key, title in titles.items():
        for i, (name, value) in enumerate(scores[key].items()):
            table.add_row(title if i == 0 else "", name, _shown(value))
        table.add_section()
    for i, key in enumerate(key for key in scores if key not in titles):
        table.add_row("partition" if i == 0 else "", key, _shown(scores[key]))
    Console().print(table)


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"
