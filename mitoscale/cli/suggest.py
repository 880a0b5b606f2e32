"""``mitoscale suggest``: the windows worth annotating."""

from __future__ import annotations

import click


@click.command()
@click.argument("run")
@click.option("--n", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many windows.")
@click.option("--size", type=click.IntRange(64, 4096), default=512, show_default=True, help="Their height and width in voxels.")
@click.option("--edits", is_flag=True, help="The windows where something was corrected or accepted instead; all of them.")
@click.option("--out", required=True, metavar="FOLDER", help="Where they go: a new folder.")
def suggest(run: str, count: int, size: int, edits: bool, out: str) -> None:
    """Write the windows of RUN that are worth annotating: those where it is most in doubt, far from each other.

    Each window is an image and its labels as found, both TIFF. Correct the labels in any editor, in the one slice that has
    some: 0 is background, each mitochondrion has a number of its own, 65535 is what nobody has annotated (paint it where you
    cannot tell). Then train on volumes.yaml, which lists them all.

    With --edits they are the windows of what was corrected with mitoscale edit or in mitoscale view: labels are known for those
    objects and right beside them, all else is not annotated. mitoscale train RUN --from-edits writes and takes them in one step.

    \b
    Example:  mitoscale suggest RUN --n 5 --out windows
    Then:     mitoscale train windows/volumes.yaml --init unet-small --crop 256 --out mine.safetensors
    SAM:      mitoscale finetune windows/volumes.yaml --sam sam-small --out my-sam.safetensors
    """
    from pathlib import Path

    from mitoscale import pipeline
    from mitoscale.pipeline.edited_windows import corrected_windows
    from mitoscale.pipeline.suggest import suggested, with_labels
    from mitoscale.pipeline.window_pairs import LIST_NAME, write_pairs
    from mitoscale.storage.layout import check_new, check_writable

    there = pipeline.load_local(run, "mitoscale suggest")
    check_new(out, "--out")
    folder = Path(out).absolute()
    check_writable(str(folder.parent))
    if edits:
        pairs = list(corrected_windows(there, size))
        told = [""] * len(pairs)
    else:
        windows = suggested(there, count, size)
        pairs, told = list(with_labels(there, windows)), [f"  {window.doubt:.1%} in doubt" for window in windows]
    folder.mkdir()
    for path, more in zip(write_pairs(there, pairs, folder), told, strict=True):
        click.echo(f"window     {path}{more}")
    click.echo(f"list       {folder / LIST_NAME}")
