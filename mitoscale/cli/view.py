"""``mitoscale view``: look at a run in the browser."""

from __future__ import annotations

import click


@click.command()
@click.argument("run")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 lets other machines in.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def view(run: str, bind: str, no_browser: bool) -> None:
    """Show image and labels of RUN in a viewer in the browser (neuroglancer), until Ctrl-C.

    \b
    Example:  mitoscale view RUN
    Needs:    pip install 'mitoscale[view]'
    """
    import threading
    import webbrowser

    from mitoscale import pipeline
    from mitoscale.core.errors import InputError
    from mitoscale.report.viewer import viewer

    there = pipeline.load(run)
    if not pipeline.finished(there, "relabel"):
        raise InputError(f"{run} has no finished labels yet; finish it with mitoscale run")
    with viewer(there.plan, bind=bind) as shown:
        click.echo(f"viewer     {shown.url}")
        click.echo("Ctrl-C ends it.", err=True)
        if not no_browser:
            webbrowser.open(shown.url)
        threading.Event().wait()
