"""``mitoscale train``: train a U-Net or a small SAM from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from mitoscale.cli.options import Amount, learning_options
from mitoscale.cli.source_options import reading_options
from mitoscale.cli.volume_options import variety_options, without_option

_EDIT_WINDOW = 512
"""Height and width in voxels of what is cut out around a correction."""


@click.command()
@click.argument("volume")
@click.argument("truth", required=False)
@reading_options
@learning_options
@click.option("--model", type=click.Choice(["unet", "sam"]), default="unet", show_default=True, help="What to train.")
@variety_options(phantoms=6)
@click.option("--crop", type=click.IntRange(min=64), help="Height and width of a U-Net's crops in its pixels (default: 512).")
@click.option("--from-edits", is_flag=True, help="VOLUME is a run: learn from what was corrected in it; see below.")
@without_option
@click.option("--init", metavar="WEIGHTS", help="Start from these weights (name or path) instead of from scratch.")
@click.option("--mistakes/--no-mistakes", default=True, help="Look first for what --init mistakes, and show it more often.")
@click.option("--keep-init", type=Amount(0, 1, max_open=True), default=0.0, help="Part of --init in the mean of both.")
@click.option("--prompts-of", metavar="WEIGHTS", help="Half of a SAM's windows have the prompts of a run with this U-Net.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps (default: 1000; report: 20 epochs).")
def train(cluster: str | None, **options: Any) -> None:
    """Train on VOLUME and TRUTH of the same shape, of any kind that run reads, or on all that VOLUME, a YAML file, lists; stopped
    and started again, it goes on.

    Presets: default (crops at native scale, Dice + cross-entropy, augmentation, averaged weights), or report (the U-Net of
    the first origin report and its recipe: slices resized to 128 x 128, Adam, cross-entropy, batch 16, 20 epochs).

    \b
    Example:  mitoscale train stack.tif truth.tif --out mine.safetensors --voxel-size 5,5,5 --slices 0:104 --tune 108:124
    Several:  mitoscale train volumes.yaml --out mine.safetensors --init unet-small --varied 0.6
    SAM:      mitoscale train volumes.yaml --out my-sam.safetensors --model sam --init sam-small --prompts-of unet-varied

    A list has an entry for each volume: image, truth (without it, only its grey values are borrowed), and where they are wanted
    voxel_size, truth_threshold, invert, slices, tune, share (how often it is drawn from), border (pixels along the edges of each
    slice that are not annotated), unlabelled (the truth's value for what is not annotated), normalised (grey values are taken as
    they are), test (slices that only finetune scores), every (of the slices finetune takes each so many) and name. Paths are
    relative to the file. mitoscale suggest writes such a list.

    \b
      - {image: a.tif, truth: a_truth.tif, voxel_size: [5, 5, 5], slices: [0, 104], tune: [108, 124], share: 2}
      - {image: b.tif, truth: b_truth.tif, voxel_size: [50, 4, 4], border: 100}
      - {image: c.tif, voxel_size: [10, 10, 10]}

    --from-edits takes the windows where objects of a run were corrected or accepted (mitoscale edit, mitoscale view), which it
    writes into a folder beside the weights, as mitoscale suggest --edits does:

    \b
              mitoscale train RUN --from-edits --init unet-small --crop 256 --out mine.safetensors
    Then:     mitoscale run other.tif RUN --detector mine.safetensors
    """
    from mitoscale.cli.learning import run_on_cluster, settings_of
    from mitoscale.core.training_settings import TrainSettings
    from mitoscale.training.job import train_job

    fields = settings_of(options)
    with _nothing_left(fields["out"]):
        settings = TrainSettings(**_with_volumes(fields))
        result = run_on_cluster(train_job, settings, "train", cluster)
    scores = result["history"][-1]["scores"]
    if scores:
        click.echo("validation " + ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items()))
    click.echo(f"weights    {settings.out}, {result['seconds'] / 60:.1f} min of training")


def _with_volumes(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, with the volumes of a list or of a run's corrections where one is named.

    Raises
    ------
    InputError
        See :func:`~mitoscale.cli.volume_options.with_volumes`; also if options are given that corrections tell.
    """
    from mitoscale.cli.volume_options import TOLD, with_volumes
    from mitoscale.core.errors import InputError

    if fields.pop("from_edits"):
        own = [name for name in TOLD if fields.get(name)]
        if own:
            raise InputError(f"--from-edits takes the windows of a run as they are; leave {own[0].replace('_', '-')} out")
        fields = fields | {"volume": _edited(fields)}
    return with_volumes(fields)


@contextmanager
def _nothing_left(out: str) -> Iterator[None]:
    """Where a training cannot begin, the windows that were written for it are removed."""
    from pathlib import Path

    from mitoscale.core.errors import MitoscaleError
    from mitoscale.storage.stored_files import remove_tree

    folder = Path(out).with_suffix(".windows")
    there = folder.exists()
    try:
        yield
    except MitoscaleError:
        if not there and folder.exists() and not Path(out).with_suffix(".checkpoint").exists():
            remove_tree(str(folder))
        raise


def _edited(fields: dict[str, Any]) -> str:
    """The list of a run's corrected windows, written beside the weights; a training that was stopped finds those it began with."""
    from pathlib import Path

    from mitoscale.pipeline import load_local
    from mitoscale.pipeline.edited_windows import corrected_windows
    from mitoscale.pipeline.window_pairs import LIST_NAME, write_pairs
    from mitoscale.storage.layout import check_new

    run, out = load_local(fields["volume"], "--from-edits"), Path(fields["out"])
    folder = out.with_suffix(".windows")
    if not (folder / LIST_NAME).is_file() or not out.with_suffix(".checkpoint").exists():
        check_new(str(folder), "--from-edits writes its windows there:")
        pairs = list(corrected_windows(run, fields["crop"] or _EDIT_WINDOW))
        folder.mkdir()
        write_pairs(run, pairs, folder)
    return str(folder / LIST_NAME)
