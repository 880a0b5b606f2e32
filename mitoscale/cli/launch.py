"""From a run and a cluster to finished stages: what run, convert, demo, retry and the stage commands share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from mitoscale import pipeline
from mitoscale.cli.output import also
from mitoscale.cli.progress import shown
from mitoscale.cluster.clusters import Cluster, ClusterSettings, load_cluster, start
from mitoscale.cluster.executor import SerialExecutor
from mitoscale.cluster.thread_executor import on_threads
from mitoscale.core.errors import EXIT_QUARANTINED, InputError
from mitoscale.core.plan import RunPlan
from mitoscale.core.quantities import volume_text
from mitoscale.dashboard.watching import watching
from mitoscale.nets.factories import preload_models
from mitoscale.pipeline import Audience, LogFile, Observer, Run, StageOutcome, execute
from mitoscale.report.dropped import dropped
from mitoscale.stages.source import Source


def run_stages(
    run: Run, stages: Sequence[str], cluster: ClusterSettings, *, redo: str | None = None, reports: str | None = None
) -> list[StageOutcome]:
    """Run the stages, show progress and the summary; exits with 3 where blocks were quarantined.

    Parameters
    ----------
    run : Run
        A run that was started or loaded.
    stages : sequence of str
        In their order.
    cluster : ClusterSettings
        Where tasks run; it is started only if there are any.
    redo : str, optional
        Stage that is done again, with all after it.
    reports : str, optional
        Folder for Dask's performance report of each stage.
    """
    threads = run.plan.settings.threads
    if cluster.threads != threads:
        raise InputError(f"{run.plan.run} was begun with {threads} threads a task; write threads: {threads} into the cluster file")
    pipeline.check_ready(run, stages[0])  # before a cluster is started in vain
    began = time.monotonic()
    if any(run.plan.task_count(stage) for stage in stages):
        if reports is None and pipeline.is_small(run, stages, cluster):
            outcomes = _on_threads(run, stages, redo)
        else:
            outcomes = _on_cluster(run, stages, cluster, redo, reports)
    else:  # the report is written by the client alone: no cluster need start for it
        with shown() as progress:
            outcomes = execute(run, stages, SerialExecutor(), progress, redo=redo)
    summarise(run, outcomes, time.monotonic() - began)
    given_up = pipeline.quarantined(run, {outcome.name: outcome.quarantined for outcome in outcomes})
    lost = [(stage, name) for stage, names in given_up.items() for name in names]
    if lost:
        were = "tasks were" if len(lost) > 1 else "task was"
        first = f"{' '.join(lost[0])}: {pipeline.why_given_up(run, *lost[0])}" + ("; ..." if len(lost) > 1 else "")
        click.echo(
            f"mitoscale: {len(lost)} {were} given up ({first}); "
            f"mitoscale status {run.plan.run} tells more; heal them with mitoscale retry {run.plan.run}, or start the same again",
            err=True,
        )
        raise click.exceptions.Exit(EXIT_QUARANTINED)
    return outcomes


def _on_threads(run: Run, stages: Sequence[str], redo: str | None) -> list[StageOutcome]:
    with on_threads(run.plan.settings.threads) as executor, shown() as progress:
        plural = "s" if executor.threads > 1 else ""
        click.echo(f"small job  no cluster, {executor.threads} thread{plural} of this process (--workers starts one)", err=True)
        return execute(run, stages, executor, Audience(progress, _Grey(run), LogFile(run.plan.run)), redo=redo)


def _on_cluster(
    run: Run, stages: Sequence[str], wanted: ClusterSettings, redo: str | None, reports: str | None
) -> list[StageOutcome]:
    with running(wanted) as cluster, shown() as progress:
        if reports:
            cluster.executor.reports = reports
        if {"detect", "segment"} & set(stages):
            settings = run.plan.settings
            cluster.preload(partial(preload_models, settings.detect, settings.segment, run.plan.spec.spacing))
        with watching(run, stages, cluster, lambda page: click.echo(f"blocks     {page}", err=True)) as watch:
            audience = Audience(progress, _Grey(run), watch, LogFile(run.plan.run))
            return execute(run, stages, cluster.executor, audience, redo=redo)


class _Grey(Observer):
    """Tells what is unusual in a volume as soon as it is converted, before the networks take hours for it."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def stage_finished(self, outcome: StageOutcome) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        if outcome.name == "convert" and not outcome.damaged:
            from mitoscale.stages.grey_statistics import read_grey

            for line in read_grey(self._run.plan).told():
                click.echo(f"grey       {line}")


def cluster_settings(file: str | None, workers: int | None) -> ClusterSettings:
    """What ``--cluster`` and ``--workers`` ask for; the file is read here and nowhere else.

    Parameters
    ----------
    file : str or None
        A cluster.yaml; None: a local cluster sized to the machine.
    workers : int or None
        Workers instead of those it says.
    """
    settings = load_cluster(file)
    return settings.with_workers(workers) if workers else settings


def tell(source: Source) -> None:
    """Print what people should know of a source before hours are spent."""
    for note in source.notes:
        click.echo(f"note       {note}", err=True)


def tell_choice(plan: RunPlan) -> None:
    """Print which detector and segmenter were chosen for a volume, and why; what was named is not told."""
    names = {"detector": plan.settings.detect.detector, "segmenter": plan.settings.segment.segmenter}
    for what, why in plan.choices.items():
        also(**{what: names[what]})
        click.echo(f"{what:10} {why}", err=True)


@contextmanager
def running(settings: ClusterSettings) -> Iterator[Cluster]:
    """A started cluster, its dashboard's address printed."""
    with start(settings) as cluster:
        click.echo(f"dashboard  {cluster.dashboard_link}", err=True)
        yield cluster


def summarise(run: Run, outcomes: list[StageOutcome], seconds: float) -> None:
    """Print objects, time, speed and where the results are.

    Parameters
    ----------
    run : Run
        The run.
    outcomes : list of StageOutcome
        What the stages returned.
    seconds : float
        Wall time of all of them.
    """
    numbers = {o.name: o.numbers for o in outcomes}
    measured = numbers.get("measure")
    if measured is not None:
        also(objects=int(measured["objects"]), volume_nm3=measured["volume_nm3"])
        click.echo(f"objects    {measured['objects']:.0f}, {volume_text(measured['volume_nm3'], plain=True)} in all")
        asked = numbers.get("segment", {})
        if asked.get("profiles"):
            share = asked["changed_voxels"] / max(asked["mask_voxels"], 1)
            of = f"asked for {asked['prompts']:.0f} of {asked['profiles']:.0f} profiles"
            of += "" if run.plan.settings.segment.asks_all else ", where the detector is unsure"
            of += f"; {asked['interpolated']:.0f} interpolated between slices" if asked.get("interpolated") else ""
            click.echo(f"masks      {share:.1%} of their voxels changed by the segmenter ({of})")
    if "relabel" in numbers:
        for line in dropped(run.plan):
            click.echo(f"dropped    {line}")
        if Path(run.plan.run, "edits.jsonl").exists():
            click.echo(
                f"edits      mitoscale apply {run.plan.run} makes the corrections on these labels, and lists what no longer fits"
            )
    also(seconds=round(seconds, 3), voxels=run.plan.region.size)
    worked = any(o.computed for o in outcomes)  # the report has no tasks, and a finished run none left
    rate = f", {run.plan.region.size / 1e6 / max(seconds, 1e-3):.2f} Mvoxel/s" if worked else ""
    click.echo(f"time       {seconds:.1f} s{rate} over {len(outcomes)} stage{'s' if len(outcomes) > 1 else ''}")
    if measured is not None:
        click.echo(f"labels     {run.plan.labels}")
        click.echo(f"table      {run.plan.run}/tables/objects.csv")
    if "report" in numbers:
        click.echo(f"report     {run.plan.run}/report.html")
