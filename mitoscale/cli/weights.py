"""``mitoscale weights``: the embedded weights, and Meta's checkpoints by name."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def weights() -> None:
    """List weights, and download Meta's official SAM checkpoints.

    \b
    Example:  mitoscale weights list
              mitoscale weights download vit_b
              mitoscale run stack.tif RUN --voxel-size 5,5,5 --sam vit_b
    """


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_weights(as_json: bool) -> None:
    """Show which weights there are: embedded, your own in the folder of downloads, downloaded, and to be downloaded.

    \b
    Example:  mitoscale weights list
    """
    import json

    from mitoscale.nets.listing import known_weights
    from mitoscale.nets.official import cache_folder

    known = known_weights()
    width = max(12, *(len(w.name) for w in known))
    if as_json:
        click.echo(json.dumps([vars(w) for w in known]))
        return
    for w in known:
        state = f"{w.megabytes:5.0f} MB" + (", damaged" if w.damaged else "" if w.path else ", not downloaded")
        click.echo(f"{w.name:{width}} {state:25} {w.what}")
    click.echo("\n--detector and --sam take these names, or the path of any other weights file.")
    click.echo(f"NAME.safetensors in {cache_folder()} has the name NAME.")


@weights.command()
@click.argument("name")
@click.option(
    "--from",
    "source",
    metavar="URL",
    help="Folder, as https:// or file:// URL, of a mirror that keeps the official files under their own names.",
)
def download(name: str, source: str | None) -> None:
    """Download NAME (vit_b, vit_l, vit_h, or the URL of a checkpoint named like Meta's) and verify its hash.

    Stopped and started again, it goes on where it was.

    \b
    Example:  mitoscale weights download vit_b
    """
    from mitoscale.cli.progress import download_bar
    from mitoscale.nets.listing import download_address
    from mitoscale.storage.download import download as fetch

    wanted = download_address(name, source)
    with download_bar(wanted.path.name) as progress:
        fetch(wanted.url, wanted.path, md5=wanted.md5, progress=progress)
    click.echo(f"weights    {wanted.path}")
