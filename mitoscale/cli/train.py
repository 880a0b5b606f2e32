"""``mitoscale train``: train a U-Net or a small SAM from scratch."""

from __future__ import annotations

from pathlib import Path

import click

from mitoscale.cli.options import Numbers, SliceRange


@click.command()
@click.argument("volume")
@click.argument("truth")
@click.option("--out", required=True, metavar="FILE", help="Weights file to write (.safetensors).")
@click.option("--model", type=click.Choice(["unet", "sam"]), default="unet", show_default=True, help="What to train.")
@click.option("--preset", default="small", show_default=True, help="Architecture: small, or report (U-Net only).")
@click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the volume does not tell it.")
@click.option("--slices", type=SliceRange(), help="Train on these slices (default: all but the tuning slices).")
@click.option("--tune", type=SliceRange(), help="Slices that choose the best weights; never trained on.")
@click.option("--phantoms", type=click.IntRange(min=0), default=6, show_default=True, help="Phantoms to mix in.")
@click.option("--phantom-share", type=click.FloatRange(0, 0.9), default=0.35, show_default=True, help="Their part of the crops.")
@click.option("--init", metavar="WEIGHTS", help="Start from these weights (name or path) instead of from scratch.")
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Optimiser steps.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights and crops.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
def train(
    volume: str,
    truth: str,
    out: str,
    model: str,
    preset: str,
    voxel_size: tuple[float, float, float] | None,
    slices: tuple[int, int] | None,
    tune: tuple[int, int] | None,
    phantoms: int,
    phantom_share: float,
    init: str | None,
    steps: int,
    seed: int,
    threads: int | None,
) -> None:
    """Train on VOLUME (TIFF or OME-Zarr) and TRUTH of the same shape; stopped and started again, it goes on.

    \b
    Example:  mitoscale train stack.tif truth.tif --out mine.safetensors --voxel-size 5,5,5 --slices 0:104 --tune 108:124
    Then:     mitoscale run other.tif RUN --detector mine.safetensors
    """
    import os

    from mitoscale.core.errors import InputError
    from mitoscale.nets import sam, unet
    from mitoscale.nets.device import set_threads
    from mitoscale.stages.annotated import read_annotated
    from mitoscale.storage.layout import check_writable
    from mitoscale.training.loop import Progress
    from mitoscale.training.recipe import train_weights, training_phantoms

    target = Path(out)
    if target.suffix != ".safetensors":
        raise InputError(f"--out {out} must end in .safetensors")
    presets = unet.PRESETS if model == "unet" else {"small": sam.PRESETS["small"]}
    if preset not in presets:
        raise InputError(f"--preset {preset!r} is unknown for {model}; there are {', '.join(presets)}")
    check_writable(str(target.parent))
    pair = read_annotated(volume, truth, voxel_size)
    if slices is None:
        slices = (0, tune[0]) if tune and tune[0] > 0 else (tune[1] if tune else 0, pair.depth)
    if tune and max(slices[0], tune[0]) < min(slices[1], tune[1]):
        raise InputError(f"--slices {slices[0]}:{slices[1]} and --tune {tune[0]}:{tune[1]} overlap; scores would mean nothing")
    share = 1 - phantom_share if phantoms else 1.0
    volumes = [pair.part(slices, share), *(training_phantoms(phantoms, phantom_share) if phantoms else [])]

    def show(p: Progress) -> None:
        left = p.seconds / p.step * (p.steps - p.step)
        click.echo(
            f"step {p.step:5d} / {p.steps}  loss {p.loss:.4f}  score {p.score:.4f}  best {p.best:.4f}  {left / 60:.1f} min left"
        )

    record: dict[str, object] = {
        "data": os.path.basename(volume),
        "train_slices": f"{slices[0]}:{slices[1]}",
        "tuning_slices": f"{tune[0]}:{tune[1]}" if tune else "",
        "phantoms": phantoms,
        "phantom_share": phantom_share if phantoms else 0.0,
    }
    set_threads(threads)
    train_weights(
        model,
        preset,
        volumes,
        pair.part(tune, 1.0) if tune else None,
        target,
        steps=steps,
        record=record,
        report=show,
        seed=seed,
        init=init,
    )
    click.echo(f"weights    {target}")
