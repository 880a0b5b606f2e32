"""``mitoscale adapt``: weights for a new tissue from the volume alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mitoscale.cli.options import Amount, Numbers
from mitoscale.cli.source_options import reading_options
from mitoscale.core.detector_names import AUTO


@click.command()
@click.argument("volume")
@click.option("--out", required=True, metavar="FILE", help="Weights file to write (.safetensors).")
@click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the volume does not tell it.")
@click.option("--invert", is_flag=True, help="Membranes are bright: swap dark and bright.")
@reading_options
@click.option("--init", default=AUTO, show_default=True, metavar="WEIGHTS", help="U-Net to start from, by name or path.")
@click.option("--sam", default="sam-small", show_default=True, metavar="WEIGHTS", help="Judge of the outlines; none: no judge.")
@click.option("--rounds", type=click.IntRange(min=0), default=6, show_default=True, help="Most rounds; 0: statistics alone.")
@click.option("--steps", type=click.IntRange(min=1), default=60, show_default=True, help="Optimiser steps a round.")
@click.option("--windows", type=click.IntRange(min=4), default=12, show_default=True, help="Windows of 2.56 um to look at.")
@click.option("--batch", type=click.IntRange(min=1), default=6, show_default=True, help="Crops a step.")
@click.option("--crop", type=click.IntRange(min=64), default=192, show_default=True, help="Their height and width in pixels.")
@click.option("--learning-rate", type=Amount(0, min_open=True), default=2e-4, show_default=True, help="Peak of the rate.")
@click.option("--varied", type=Amount(0, 1), default=0.5, show_default=True, help="Part of the crops that is changed far.")
@click.option("--keep-init", type=Amount(0, 1, max_open=True), default=0.5, show_default=True, help="Part of the weights kept.")
@click.option("--with", "beside", metavar="LIST", help="YAML list of annotated volumes to go on learning from, as train takes it.")
@click.option("--phantoms", type=click.IntRange(min=0), default=0, show_default=True, help="Phantoms to learn from beside.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads, where there is no --cluster.")
@click.option("--cluster", metavar="FILE", help="cluster.yaml; without it, one worker on this machine.")
def adapt(cluster: str | None, beside: str | None, **options: Any) -> None:
    """Adapt a U-Net to VOLUME, of any kind that run reads, without labels.

    First the statistics of its batch normalisation are estimated anew on some windows of the volume. Then it labels windows with
    what it sees alike in four orientations and SAM agrees with, and learns from them, changed as far as other microscopes differ,
    in a few short rounds. Other windows judge each step, with its own statistics, with the volume's and half way between, by
    signs that need no truth: how well the orientations, other grey values and SAM agree, how sure it is, how much it finds and
    how large. What is no better is not taken; where nothing is, no weights are written, and the command ends with 1. The signs
    tell no truth: look at the picture.

    Beside the weights: .adapt.json (each step's signs) and .adapt.png (windows, before and after), whatever the verdict. Stopped
    and started again, it goes on.

    \b
    Example:  mitoscale adapt stack.tif --voxel-size 50,4.6,4.6 --out mine.safetensors
    Then:     mitoscale run stack.tif RUN --voxel-size 50,4.6,4.6 --detector mine.safetensors
    """
    from mitoscale.cli.learning import run_on_cluster, settings_of
    from mitoscale.core.adapt_settings import AdaptSettings
    from mitoscale.core.errors import NoGainError
    from mitoscale.nets.named_weights import find_weights
    from mitoscale.training.adapt_job import adapt_job
    from mitoscale.training.volume_list import read_volume_list

    for name in ("init", "sam"):
        if options[name] not in ("none", AUTO):
            options[name] = str(find_weights(options[name]))
    volumes = read_volume_list(beside) if beside else ()
    settings = AdaptSettings(**settings_of(options), volumes=volumes)
    result = run_on_cluster(adapt_job, settings, "adapt", cluster, keep=_keep)
    if result["refused"]:
        raise NoGainError(f"no weights were written: {result['refused']}", "annotate a few windows instead (mitoscale suggest)")
    click.echo(f"weights    {settings.out}, {result['seconds'] / 60:.1f} min of adapting")


def _keep(out: Path, result: dict[str, Any]) -> None:
    """Write history and picture beside the weights."""
    import numpy as np

    from mitoscale.report.adaptation import adaptation_picture
    from mitoscale.report.pictures import save_png
    from mitoscale.storage.layout import write_json

    history, picture = out.with_suffix(".adapt.json"), out.with_suffix(".adapt.png")
    write_json(str(history), {name: result[name] for name in ("history", "refused", "seconds")})
    with np.load(result["pictured"]) as arrays:
        save_png(str(picture), adaptation_picture(arrays["image"], arrays["before"], arrays["after"], tuple(result["pixel"])))
    Path(result["pictured"]).unlink()
    click.echo(f"history    {history}, {picture}")
