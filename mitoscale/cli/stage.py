"""``mitoscale detect``, ``segment``, ``stitch``, ``relabel``, ``measure``: one stage of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mitoscale.cli.options import request_options, where_options

if TYPE_CHECKING:
    from mitoscale.core.request import RunRequest

_WHAT = {
    "detect": "Predict foreground and find a detection for each profile.",
    "segment": "Turn detections into masks and link them to fragments, block by block.",
    "stitch": "Join the fragments of neighbouring blocks to objects.",
    "relabel": "Write the final labels with their pyramid.",
    "measure": "Measure every object: tables/objects.parquet and .csv.",
}


def run_stage(
    name: str, run: str, request: RunRequest, cluster: str | None, workers: int | None, performance_report: str | None
) -> None:
    """Run one stage of a run.

    Parameters
    ----------
    name : str
        One of ``STAGES``.
    run : str
        The run folder.
    request : RunRequest
        What the options ask for.
    cluster, workers, performance_report
        The options of these names.
    """
    from mitoscale.cli.launch import cluster_settings, run_stages, tell_choice
    from mitoscale.core.errors import InputError
    from mitoscale.core.settings import STAGES
    from mitoscale.pipeline import converted, load, start, with_asked

    redo = request.redo
    if redo and STAGES.index(redo) < STAGES.index(name):
        raise InputError(f"--redo {redo} lies before {name}; use mitoscale {redo} RUN --redo {redo}, or mitoscale run")
    there = load(run)
    for option in ("region", "block", "invert"):
        if getattr(request, option) is not None:
            raise InputError(f"--{option} is fixed when a run is converted; use mitoscale run SRC RUN with --redo convert")
    where = cluster_settings(cluster, workers)
    if name == "detect":
        begun = start(converted(there, request), redo)
    else:
        begun = start(with_asked(there.plan, request), redo)
    if name in ("detect", "segment"):
        tell_choice(begun.plan)
    run_stages(begun, [name], where, redo=redo, reports=performance_report)


def _command(name: str) -> click.Command:
    @click.command(name, help=f"{_WHAT[name]}\n\n\b\nExample:  mitoscale {name} RUN")
    @click.argument("run")
    @request_options
    @where_options
    def command(run: str, request: RunRequest, cluster: str | None, workers: int | None, performance_report: str | None) -> None:
        run_stage(name, run, request, cluster, workers, performance_report)

    return command


detect, segment, stitch, relabel, measure = (_command(name) for name in _WHAT)
