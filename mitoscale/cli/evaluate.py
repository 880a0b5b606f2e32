"""``mitoscale evaluate``: labels against truth."""

from __future__ import annotations

import json

import click

from mitoscale.cli.options import SliceRange


@click.command()
@click.argument("labels")
@click.argument("truth")
@click.option("--slices", type=SliceRange(), help="Only these slices (half-open); cropped before anything is labelled.")
@click.option("--min-truth", type=click.IntRange(min=0), default=0, metavar="N", help="Ignore truth objects below N voxels.")
@click.option("--truth-threshold", type=int, metavar="T", help="The truth is a grey-valued mask: above T is mitochondrion.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    labels: str, truth: str, slices: tuple[int, int] | None, min_truth: int, truth_threshold: int | None, as_json: bool
) -> None:
    """Score LABELS against TRUTH; each is a run, an OME-Zarr, a Zarr array, a TIFF, or a folder of TIFF or PNG slices.

    \b
    Example:  mitoscale evaluate RUN truth.tif --slices 132:165 --json
    """
    from mitoscale.stages.evaluate import evaluate as score

    scores = score(labels, truth, slices=slices, min_truth=min_truth, threshold=truth_threshold)
    if as_json:
        click.echo(json.dumps(scores))
        return
    for name, value in scores.items():
        if isinstance(value, dict):
            click.echo(f"{name:11} " + "  ".join(f"{k} {_shown(v)}" for k, v in value.items()))
        else:
            click.echo(f"{name:11} {_shown(value)}")


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"
