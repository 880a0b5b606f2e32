"""``mitoscale suggest``: the windows worth annotating."""

from __future__ import annotations

import click


@click.command()
@click.argument("run")
@click.option("--n", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many windows.")
@click.option("--size", type=click.IntRange(64, 4096), default=512, show_default=True, help="Their height and width in voxels.")
@click.option("--out", required=True, metavar="FOLDER", help="Where they go: a new folder.")
def suggest(run: str, count: int, size: int, out: str) -> None:
    """Write the windows of RUN that are worth annotating: those where it is most in doubt, far from each other.

    Each window is an image and its labels as found, both TIFF. Correct the labels in any editor, in the one slice that has
    some: 0 is background, each mitochondrion has a number of its own, 65535 is what nobody has annotated (paint it where you
    cannot tell). Then train on volumes.yaml, which lists them all.

    \b
    Example:  mitoscale suggest RUN --n 5 --out windows
    Then:     mitoscale train windows/volumes.yaml --init unet-small --crop 256 --out mine.safetensors
    """
    from pathlib import Path

    from mitoscale import pipeline
    from mitoscale.pipeline.suggest import LIST_NAME, suggested, write_windows
    from mitoscale.storage.layout import check_new, check_writable

    there = pipeline.load(run)
    check_new(out, "--out")
    folder = Path(out).absolute()
    check_writable(str(folder.parent))
    windows = suggested(there, count, size)
    folder.mkdir()
    for window, path in zip(windows, write_windows(there, windows, folder), strict=True):
        click.echo(f"window     {path}  {window.doubt:.1%} in doubt")
    click.echo(f"list       {folder / LIST_NAME}")
