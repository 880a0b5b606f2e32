"""``mitoscale view``: look at a run in the browser."""

from __future__ import annotations

import click


@click.command()
@click.argument("run")
@click.option("--with", "other", metavar="LABELS", help="Truth, or another run, as a layer of its own, and where both agree.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 lets other machines in.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on (default: any that is free).")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the address, at once, and nothing else.")
def view(run: str, other: str | None, bind: str, port: int, no_browser: bool, as_json: bool) -> None:
    """Show RUN in the browser until Ctrl-C: image, labels, detections, foreground, meshes of what is selected, lists.

    Objects of a finished run can be corrected there, as with mitoscale edit: merge, split, delete, add, draw (by SAM), accept.

    A run that is still at work shows what is done. Everything comes over one port. Where RUN lies on another machine, start the
    viewer there with --no-browser --port 8080, and at home ssh -L 8080:127.0.0.1:8080 THAT-MACHINE (another port in front works
    too: -L 9000:127.0.0.1:8080); then open the printed address at home. Through a login node: add -J LOGIN-NODE. With --bind
    0.0.0.0 there is no tunnel, and no protection but the secret part of the address.

    \b
    Example:  mitoscale view RUN --with truth.tif
    Needs:    pip install 'mitoscale[view]'
    """
    import os
    import threading
    import webbrowser
    from contextlib import suppress

    from mitoscale import pipeline
    from mitoscale.core.errors import InputError
    from mitoscale.evaluation.label_reading import open_labels
    from mitoscale.stages.grey_statistics import read_grey
    from mitoscale.viewer.view import viewer

    there = pipeline.load_local(run, "mitoscale view")
    truth = open_labels(other) if other else None
    if not there.plan.settings.convert.in_place and not os.path.isdir(there.plan.image):
        raise InputError(f"{run} has no image yet; start it with mitoscale run")
    window = None
    with suppress(InputError):  # a run at work may not have it yet
        window = read_grey(there.plan).normalisation
    editable = pipeline.finished(there, "measure")
    with viewer(there.plan, bind=bind, port=port, other=truth, normalisation=window, editable=editable) as shown:
        _tell(shown.url, bind, shown.port, as_json)
        if not pipeline.finished(there, "relabel"):
            click.echo("labels     not finished: what is written by now is shown", err=True)
        if not no_browser:
            webbrowser.open(shown.url)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _tell(url: str, bind: str, port: int, as_json: bool) -> None:
    """Print where it is, and how to get there from another machine."""
    import json
    import socket

    tunnel = f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}" if bind in ("127.0.0.1", "localhost") else ""
    if as_json:
        click.echo(json.dumps({"command": "view", "exit_code": 0, "viewer": url, "port": port, "tunnel": tunnel or None}))
        return
    click.echo(f"viewer     {url}")
    if tunnel:
        click.echo(f"from afar  {tunnel}     (on your own machine; then open the same address there)", err=True)
    else:
        click.echo("from afar  the same address; whoever knows it can correct the run", err=True)
    click.echo("Ctrl-C ends it.", err=True)
