"""``mitoscale report``: the page of a run, and of two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mitoscale.cli.options import request_options, where_options
from mitoscale.cli.stage import run_stage

if TYPE_CHECKING:
    from mitoscale.core.request import RunRequest


@click.command()
@click.argument("run")
@click.option("--against", metavar="OTHER", help="Also compare with another run of the same volume: RUN/comparison.html.")
@request_options
@where_options
def report(
    run: str,
    against: str | None,
    request: RunRequest,
    cluster: str | None,
    workers: int | None,
    performance_report: str | None,
) -> None:
    """Write report.html and its pictures; where they are there, anew, with the corrections made since.

    With --against also comparison.html: settings that differ, counts and volumes, what became of each object (matched, split,
    merged, missing, new), F1 of one run by the other, pictures of the largest differences; and tables/comparison.csv.
    Labels are read block by block: here, or with --workers or --cluster on a cluster.

    \b
    Example:  mitoscale report RUN
              mitoscale report RUN --against OTHER
    """
    if against:
        _check(run, against)
    if against or not _made_anew(run, request):
        run_stage("report", run, request, cluster, workers, performance_report)
    if against:
        _compare(run, against, cluster, workers)


def _made_anew(run: str, request: RunRequest) -> bool:
    """Make a finished report again, also of a cleaned run: what people corrected since stands in no ledger."""
    from mitoscale.core.request import RunRequest
    from mitoscale.pipeline import finished, load, locked

    there = load(run)
    if request != RunRequest() or not finished(there, "report"):
        return False
    with locked(there.plan.run):
        there.stage("report").finish((), {})
    click.echo(f"report     {there.plan.run}/report.html")
    return True


def _check(run: str, against: str) -> None:
    """Raise before anything is done."""
    from mitoscale.core.errors import InputError
    from mitoscale.evaluation.run_difference import check_comparable
    from mitoscale.pipeline import finished, load_local

    pair = load_local(run, "--against"), load_local(against, "--against")
    check_comparable(pair[0].plan, pair[1].plan)
    for one in pair:
        if not finished(one, "measure"):
            raise InputError(f"{one.plan.run} has no finished labels and objects to compare; finish it with mitoscale run")


def _compare(run: str, against: str, cluster: str | None, workers: int | None) -> None:
    from contextlib import ExitStack

    from mitoscale.cli.launch import cluster_settings, running
    from mitoscale.cli.progress import count_bar
    from mitoscale.pipeline import load, locked
    from mitoscale.report.build import Report
    from mitoscale.report.run_comparison import write_run_comparison
    from mitoscale.stages.grey_statistics import read_grey

    plan, other = load(run).plan, load(against).plan
    with ExitStack() as stack:
        stack.enter_context(locked(plan.run))
        where = cluster_settings(cluster, workers) if cluster or workers else None
        executor = stack.enter_context(running(where)).executor if where else None
        heard = stack.enter_context(count_bar("compare"))
        done = write_run_comparison(Report(plan=plan, grey=read_grey(plan)), other, executor=executor, observer=heard)
    scores = done.difference.objects
    click.echo(f"against    {other.run}, {done.settings} settings differ")
    if plan.region != other.region:
        click.echo(f"region     {done.difference.region} alone is compared: the runs worked on different parts of the volume")
    click.echo(f"objects    {scores['n_pred']} here, {scores['n_true']} there")
    click.echo(f"of them    {', '.join(f'{count} {name}' for name, count in done.kinds.items() if count) or 'none'}")
    click.echo(f"F1         {scores['f1_50']:.3f} at IoU 0.5, {scores['f1_75']:.3f} at 0.75")
    click.echo(f"comparison {done.page}")
    click.echo(f"groups     {done.table}")
