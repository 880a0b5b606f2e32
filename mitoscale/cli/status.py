"""``mitoscale status``: how far a run is, from its ledgers alone."""

from __future__ import annotations

import time

import click

from mitoscale.cli.options import Amount


@click.command()
@click.argument("run")
@click.option("--watch", is_flag=True, help="Show it again every few seconds until the run is finished.")
@click.option("--every", type=Amount(min=0.1), default=2.0, metavar="SECONDS", help="How often with --watch.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def status(run: str, watch: bool, every: float, as_json: bool) -> None:
    """Tell what of RUN is done, given up, and left; also while nothing is running, and from another machine.

    \b
    Example:  mitoscale status RUN --watch
    """
    from mitoscale.cli.progress import as_object, as_text
    from mitoscale.pipeline import load
    from mitoscale.pipeline.status import progress

    there = load(run)
    while True:
        found = progress(there)
        if watch and not as_json:
            click.clear()
        click.echo(as_object(found) if as_json else as_text(found, run))
        if not watch or (found.finished and not found.working):
            return
        time.sleep(every)
