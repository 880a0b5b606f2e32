"""``mitoscale train``: train a U-Net or a small SAM from scratch."""

from __future__ import annotations

from typing import Any

import click

from mitoscale.cli.options import Amount, learning_options


@click.command()
@click.argument("volume")
@click.argument("truth")
@learning_options
@click.option("--model", type=click.Choice(["unet", "sam"]), default="unet", show_default=True, help="What to train.")
@click.option("--phantoms", type=click.IntRange(min=0), default=6, show_default=True, help="Phantoms to mix in.")
@click.option("--phantom-share", type=Amount(0, 0.9), default=0.35, show_default=True, help="Their part of the crops.")
@click.option("--init", metavar="WEIGHTS", help="Start from these weights (name or path) instead of from scratch.")
@click.option("--keep-init", type=Amount(0, 1, max_open=True), default=0.0, help="Part of --init in the mean of both.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps (default: 1000; report: 20 epochs).")
def train(cluster: str | None, **options: Any) -> None:
    """Train on VOLUME (TIFF or OME-Zarr) and TRUTH of the same shape; stopped and started again, it goes on.

    Presets: default (crops at native scale, Dice + cross-entropy, augmentation, averaged weights), or report (the U-Net of
    the first origin report and its recipe: slices resized to 128 x 128, Adam, cross-entropy, batch 16, 20 epochs).

    \b
    Example:  mitoscale train stack.tif truth.tif --out mine.safetensors --voxel-size 5,5,5 --slices 0:104 --tune 108:124
    Then:     mitoscale run other.tif RUN --detector mine.safetensors
    """
    from mitoscale.cli.learning import run_on_cluster, settings_of
    from mitoscale.core.learning import TrainSettings
    from mitoscale.training.job import train_job

    settings = TrainSettings(**settings_of(options))
    result = run_on_cluster(train_job, settings, "train", cluster)
    scores = result["history"][-1]["scores"]
    if scores:
        click.echo("validation " + ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items()))
    click.echo(f"weights    {settings.out}, {result['seconds'] / 60:.1f} min of training")
