"""``mitoscale clean``: remove a finished run's working files."""

from __future__ import annotations

import click


@click.command()
@click.argument("run")
def clean(run: str) -> None:
    """Remove RUN/work, which a finished run no longer needs; labels, tables and report stay.

    \b
    Example:  mitoscale clean RUN
    """
    from mitoscale import pipeline

    freed = pipeline.clean(pipeline.load(run))
    click.echo(f"freed      {freed / 1e6:.1f} MB")
