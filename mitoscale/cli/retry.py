"""``mitoscale retry``: heal what a run had to give up."""

from __future__ import annotations

import click

from mitoscale.cli.options import report_option, where_options


@click.command()
@click.argument("run")
@report_option
@where_options
def retry(run: str, cluster: str | None, workers: int | None, performance_report: str | None) -> None:
    """Do again only what was given up in RUN, and exactly what depends on it: faces, merge, labels that change.

    \b
    Example:  mitoscale retry RUN
    Afterwards the run is bit for bit what it would have been without the failure.
    """
    from mitoscale.cli.launch import cluster_settings, run_stages
    from mitoscale.core.errors import InputError
    from mitoscale.pipeline import begun, finished, first_missing, load, locked, quarantined

    there = load(run)
    lost = quarantined(there)
    if not lost:
        with locked(there.plan.run):  # refused where somebody works on it
            if not finished(there, "report"):
                raise InputError(f"{run} has nothing to heal and is not finished; start the same mitoscale run again")
            gone = first_missing(there)
            if gone:
                raise InputError(f"{gone} is gone; start the same mitoscale run again, which writes it anew")
        click.echo(f"nothing to heal in {run}")
        return
    click.echo(f"healing    {', '.join(f'{len(names)} of {stage}' for stage, names in lost.items())}", err=True)
    run_stages(there, begun(there), cluster_settings(cluster, workers), reports=performance_report)
