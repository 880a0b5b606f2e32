"""``mitoscale finetune``: adapt SAM's mask decoder to a lab's own annotated slices."""

from __future__ import annotations

from typing import Any

import click

from mitoscale.cli.options import Amount, SliceRange, learning_options
from mitoscale.cli.source_options import reading_options
from mitoscale.cli.volume_options import variety_options, without_option


@click.command()
@click.argument("volume")
@click.argument("truth", required=False)
@click.option("--sam", required=True, metavar="WEIGHTS", help="SAM to start from: a name, or a checkpoint by path.")
@reading_options
@learning_options
@without_option
@variety_options(phantoms=0)
@click.option("--test", type=SliceRange(), help="Slices that are only scored, before and after.")
@click.option("--sam-pixel", "sam_pixel_nm", type=Amount(0, min_open=True), metavar="NM", help="Pixel size SAM works at.")
@click.option("--epochs", type=click.IntRange(min=1), help="Times all windows are seen.")
@click.option("--every", type=click.IntRange(min=1), help="Learn from only each so many slices (default: from each).")
@click.option("--prompts", type=click.IntRange(min=1), help="Prompts a window.")
@click.option("--versions", type=click.IntRange(min=1), help="Versions of each window, the plain one and augmented ones.")
@click.option("--cache", metavar="FOLDER", help="Where embeddings are kept (default: ~/.cache/mitoscale/embeddings).")
@click.option(
    "--cache-size", type=Amount(0, min_open=True), default=20.0, show_default=True, metavar="GB", help="Its largest size."
)
@click.option("--accept-any", is_flag=True, help="Write the new weights even where held-out slices are no better.")
def finetune(cluster: str | None, cache: str | None, cache_size: float, **options: Any) -> None:
    """Fine-tune SAM's mask decoder on VOLUME and TRUTH, or on all that VOLUME, a YAML file, lists; its encoders stay as they are,
    so images are embedded only once.

    Scores before and after are printed for points and for boxes apart, and the new weights are kept only where the tuning
    slices are better for them, in the mean of all volumes. Presets: default, or report (the second origin report's: patches,
    Adam at 1e-5, Dice + cross-entropy). Stopped and started again, it goes on.

    \b
    Example:  mitoscale finetune stack.tif truth.tif --sam sam-small --out mine.safetensors --slices 0:104 --tune 108:124
    Several:  mitoscale finetune volumes.yaml --sam sam-small --out mine.safetensors --without cardiac
    Then:     mitoscale run other.tif RUN --sam mine.safetensors

    The list is the one that train takes (see mitoscale train --help). Each volume is brought to the pixel size SAM works at, and
    has its share of the windows of an epoch, however large it is; an entry's tune and test slices are scored volume by volume.
    What --without leaves out is scored, too: its tune slices, else what the list names of it. --varied, --phantoms and --scenes
    are for the augmented versions of the windows (--versions).
    """
    import os

    from mitoscale.cli.learning import run_on_cluster, settings_of
    from mitoscale.cli.volume_options import with_volumes
    from mitoscale.core.training_settings import FinetuneSettings
    from mitoscale.nets.named_weights import find_weights
    from mitoscale.nets.published import cache_folder
    from mitoscale.storage.layout import check_writable
    from mitoscale.training.job import finetune_job

    options["sam"] = str(find_weights(options["sam"]))
    folder = os.path.abspath(os.path.expanduser(cache)) if cache else str(cache_folder() / "embeddings")
    check_writable(folder)
    settings = FinetuneSettings(**with_volumes(settings_of(options), scored=True), cache=folder, cache_bytes=int(cache_size * 1e9))
    result = run_on_cluster(finetune_job, settings, "finetune", cluster)
    click.echo(f"weights    {settings.out}, {result['seconds'] / 60:.1f} min of training")
