"""From options to settings, and from settings to a finished run: what run, convert, demo and the stage commands share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import click

from mitoscale import pipeline
from mitoscale.cli.progress import ProgressBars
from mitoscale.cluster.clusters import Cluster, load_cluster, start
from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.errors import EXIT_QUARANTINED, InputError
from mitoscale.core.geometry import Region
from mitoscale.core.plan import chunks_of, default_core
from mitoscale.core.settings import ConvertSettings, DetectSettings, RelabelSettings, RunSettings, SegmentSettings
from mitoscale.dashboard.watch import Watch
from mitoscale.nets.factories import preload_models, weights_digest
from mitoscale.pipeline import Audience, Run, StageOutcome, execute
from mitoscale.stages.source import Source


def settings_for(source: Source, options: dict[str, Any], threads: int) -> RunSettings:
    """The settings of a new run from the command line's options; what is not given has its default."""
    core = options.get("block") or default_core(source.shape, source.spacing)
    region = options.get("region")
    convert = ConvertSettings(
        source=source.path,
        fingerprint=source.fingerprint,
        spacing=source.spacing,
        in_place=source.level0 is not None,
        core=core,
        chunks=chunks_of(core),
        region=Region.parse(region, source.shape) if region else Region.of_shape(source.shape),
        invert=bool(options.get("invert")),
    )
    return with_options(RunSettings(convert=convert, threads=threads), options)


def with_options(settings: RunSettings, options: dict[str, Any]) -> RunSettings:
    """Settings with what the options say of detect, segment and relabel; weights are looked up and hashed."""
    detect: dict[str, Any] = settings.detect.model_dump() | _given(
        options, {"detector": "detector", "threshold": "threshold", "options": "detector_option"}
    )
    segment: dict[str, Any] = settings.segment.model_dump() | _given(
        options,
        {"segmenter": "segmenter", "sam": "sam", "sam_pixel_nm": "sam_pixel", "options": "segmenter_option", "gate_nm": "gate"},
    )
    relabel: dict[str, Any] = settings.relabel.model_dump() | _given(
        options, {"min_volume_nm3": "min_volume", "into_source": "labels_into_source"}
    )
    if detect["detector"] != settings.detect.detector:  # what was said to another one means nothing to it
        detect["options"] = options.get("detector_option") or {}
    if segment["segmenter"] != settings.segment.segmenter:
        segment["options"] = options.get("segmenter_option") or {}
    detect["weights"] = weights_digest(detect["detector"])
    segment["weights"] = weights_digest(segment["sam"]) if segment["segmenter"] == "sam" else ""
    return settings.model_copy(
        update={
            "detect": DetectSettings(**detect),
            "segment": SegmentSettings(**segment),
            "relabel": RelabelSettings(**relabel),
        }
    )


def _given(options: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {field: options[option] for field, option in names.items() if not _left_out(options.get(option))}


def _left_out(value: Any) -> bool:
    """Whether an option was not given; 0 is a value."""
    return value is None or value is False or value == {}


def run_stages(run: Run, stages: Sequence[str], options: dict[str, Any]) -> list[StageOutcome]:
    """Run the stages, show progress and the summary; exits with 3 where blocks were quarantined."""
    threads = run.plan.settings.threads
    if threads_of(options) != threads:
        raise InputError(f"{run.plan.run} was begun with {threads} threads a task; write threads: {threads} into the cluster file")
    pipeline.check_ready(run, stages[0])  # before a cluster is started in vain
    began = time.monotonic()
    if any(run.plan.task_count(stage) for stage in stages):
        outcomes = _on_cluster(run, stages, options)
    else:  # the report is written by the client alone: no cluster need start for it
        with ProgressBars() as bars:
            outcomes = execute(run, stages, SerialExecutor(), bars, redo=options.get("redo"))
    summarise(run, outcomes, time.monotonic() - began)
    lost = [(stage, name) for stage, names in pipeline.quarantined(run).items() for name in names]
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


def _on_cluster(run: Run, stages: Sequence[str], options: dict[str, Any]) -> list[StageOutcome]:
    with running(options) as cluster, ProgressBars() as bars:
        if options.get("performance_report"):
            cluster.executor.reports = options["performance_report"]
        if {"detect", "segment"} & set(stages):
            settings = run.plan.settings
            cluster.preload(partial(preload_models, settings.detect, settings.segment, run.plan.spec.spacing))
        with watched(run, stages, cluster) as watch:
            return execute(run, stages, cluster.executor, Audience(bars, watch), redo=options.get("redo"))


@contextmanager
def running(options: dict[str, Any]) -> Iterator[Cluster]:
    """The cluster that ``--cluster`` and ``--workers`` ask for, its dashboard's address printed."""
    settings = load_cluster(options.get("cluster"))
    if options.get("workers"):
        settings = settings.with_workers(options["workers"])
    with start(settings) as cluster:
        click.echo(f"dashboard  {cluster.dashboard_link}", err=True)
        yield cluster


@contextmanager
def watched(run: Run, stages: Sequence[str], cluster: Cluster) -> Iterator[Watch]:
    """Meanwhile show the run in the dashboard, on a page whose address is printed."""
    from mitoscale.dashboard.plugin import add_page
    from mitoscale.dashboard.publishing import publishing

    watch = Watch(run, stages)
    page = add_page(cluster.client, cluster.dashboard_link)
    if page:
        click.echo(f"blocks     {page}", err=True)
    with publishing(cluster.client, run.plan.run, watch.news):
        try:
            yield watch
        except BaseException:
            watch.end("stopped")
            raise
        watch.end("finished")


def threads_of(options: dict[str, Any]) -> int:
    """Threads a task computes with, as the cluster file says."""
    return load_cluster(options.get("cluster")).threads


def summarise(run: Run, outcomes: list[StageOutcome], seconds: float) -> None:
    """Print objects, time, speed and where the results are."""
    numbers = {o.name: o.numbers for o in outcomes}
    rate = run.plan.region.size / 1e6 / max(seconds, 1e-3)
    measured = numbers.get("measure")
    if measured is not None:
        click.echo(f"objects    {measured['objects']:.0f}, {measured['volume_nm3'] / 1e9:.3f} um^3 in all")
        if run.plan.settings.segment.segmenter != "unet" and measured["object_voxels"]:
            share = measured["own_voxels"] / max(measured["object_voxels"], 1)
            click.echo(f"masks      {share:.1%} of object voxels are the segmenter's own, the rest is the watershed's")
    click.echo(f"time       {seconds:.1f} s, {rate:.2f} Mvoxel/s over {len(outcomes)} stage{'s' if len(outcomes) > 1 else ''}")
    if measured is not None:
        click.echo(f"labels     {run.plan.labels}")
        click.echo(f"table      {run.plan.run}/tables/objects.csv")
    if "report" in numbers:
        click.echo(f"report     {run.plan.run}/report.html")
