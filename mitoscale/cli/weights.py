"""``mitoscale weights``: the embedded weights, and the published ones of others by name."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def weights() -> None:
    """List weights, and download those that others publish: SAM of Meta and of micro-sam, MitoNet.

    \b
    Example:  mitoscale weights list
              mitoscale weights download vit_b_em_organelles
              mitoscale run stack.tif RUN --voxel-size 5,5,5 --sam vit_b_em_organelles
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
    from mitoscale.nets.published import cache_folder

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
    help="Folder, as https:// or file:// URL, of a mirror, such as a copy of the folder of downloads of another machine.",
)
def download(name: str, source: str | None) -> None:
    """Download NAME (see weights list; or the URL of a checkpoint named like Meta's) and verify its hash.

    Stopped and started again, it goes on where it was; a broken file is replaced. No hash is published for MitoNet: that of
    the first download is recorded beside it, printed, and holds from then on. MitoNet is TorchScript, which is code: it is
    run only where --detector names it.

    \b
    Example:  mitoscale weights download vit_b
              mitoscale weights download mitonet
    """
    from mitoscale.cli.progress import download_bar
    from mitoscale.nets.listing import download_address
    from mitoscale.storage.download import download as fetch

    wanted = download_address(name, source)
    with download_bar(wanted.path.name) as progress:
        digest = fetch(wanted.url, wanted.path, digest=wanted.digest, record=wanted.record, progress=progress)
    click.echo(f"weights    {wanted.path}")
    click.echo(f"digest     {digest}" + (f", of the first download, see {wanted.record}" if wanted.record else ", as promised"))
    if wanted.licence:
        click.echo(f"licence    {wanted.licence}")
