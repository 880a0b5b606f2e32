"""A whole run from a script or notebook: what ``mitoscale run`` does, with the same settings by the same names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from pydantic import ValidationError

from mitoscale import pipeline
from mitoscale.api.opened import OpenedRun
from mitoscale.cluster.clusters import ClusterSettings, load_cluster, start
from mitoscale.cluster.executor import Executor, SerialExecutor
from mitoscale.cluster.thread_executor import on_threads
from mitoscale.core.errors import InputError
from mitoscale.core.event import Event
from mitoscale.core.request import RunRequest
from mitoscale.core.settings import STAGES
from mitoscale.core.source_choices import Reading
from mitoscale.nets.factories import preload_models
from mitoscale.pipeline import Audience, LogFile, Observer, Run, StageOutcome
from mitoscale.stages.source import open_source

Progress = Callable[[str, int, int], object]
"""Hears of each task: the stage, how many of its tasks are done, and how many there are."""


def run(
    source: str | os.PathLike[str],
    run: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    dashboard: Callable[[str], object] | None = None,
    **settings: Any,
) -> OpenedRun:
    """Find mitochondria in a source and keep everything in a run folder; started again, it goes on.

    The labels are bit for bit those of ``mitoscale run`` with the same settings.

    Parameters
    ----------
    source : str or path
        What ``mitoscale run`` takes: a TIFF file, a folder or glob of slices, an OME-Zarr, HDF5, an address, ...
    run : str or path
        The run folder.
    progress : callable, optional
        Called as ``progress(stage, done, total)`` after each task.
    cluster : str, optional
        A ``cluster.yaml``; without it, a local cluster sized to the machine. A script that starts one needs
        ``if __name__ == "__main__":`` around the call, because its workers import the script; a notebook does not.
    workers : int, optional
        Worker processes; 0: none, the tasks run one after another in this process. A small job has none by default, but threads.
    dashboard : callable, optional
        Called once with the address of the page that shows the run's blocks while they are worked on, such as ``print``; there
        are workers then, for a small job too.
    **settings
        The options of ``mitoscale run`` with ``_`` for ``-``: ``voxel_size=(5, 5, 5)``, ``segmenter="unet"``,
        ``region=((0, 64), (0, 512), (0, 512))`` (slices or text as well), ``redo="segment"`` and all others.

    Returns
    -------
    OpenedRun
        Its results. Where blocks had to be given up there is a warning; ``.status()`` tells which and why.

    Raises
    ------
    InputError
        If a setting or the source is wrong; nothing was changed.
    StoppedError
        If it cannot go on for now; the same call goes on.

    Examples
    --------
    >>> import mitoscale
    >>> done = mitoscale.run("stack.tif", "RUN", voxel_size=(5, 5, 5))  # doctest: +SKIP
    >>> done.objects.volume_nm3.describe()  # doctest: +SKIP
    """
    if dashboard is not None and workers == 0:
        raise InputError("the dashboard shows what workers do, and workers=0 has none; give workers=1 or more")
    request = request_of(settings)
    where = load_cluster(cluster)
    volume = open_source(os.fspath(source), request.voxel_size, request.reading)
    plan = pipeline.planned(volume, os.fspath(run), request, where.threads)
    begun = pipeline.start(plan, request.redo)
    for note in volume.notes:
        warnings.warn(note, stacklevel=2)
    with pipeline.taken_back(begun):
        outcomes = run_stages(
            begun, STAGES, where, workers=workers, progress=progress, dashboard=dashboard, log=True, redo=request.redo
        )
    lost = sum(len(outcome.quarantined) for outcome in outcomes)
    if lost:
        warnings.warn(f"{lost} tasks of {plan.run} were given up; mitoscale retry {plan.run} heals them", stacklevel=2)
    return OpenedRun(begun)


def run_stages(
    run: Run,
    stages: Sequence[str],
    cluster: ClusterSettings,
    *,
    workers: int | None,
    progress: Progress | None = None,
    dashboard: Callable[[str], object] | None = None,
    log: bool = False,
    redo: str | None = None,
) -> list[StageOutcome]:
    """Run stages on a cluster, or in this process.

    Parameters
    ----------
    run : Run
        That was started.
    stages : sequence of str
        In their order.
    cluster : ClusterSettings
        Where tasks run.
    workers : int or None
        Workers instead of those it says; 0: this process, as for small jobs by default.
    progress, dashboard : callable, optional
        See :func:`run`.
    log : bool
        Keep a log in the run folder.
    redo : str, optional
        Stage that is done again, with all after it.
    """
    listening: list[Observer] = [LogFile(run.plan.run)] if log else []
    with ExitStack() as stack:
        if workers == 0:
            stack.enter_context(_threads(run.plan.settings.threads))
            executor: Executor = SerialExecutor()
        elif workers is None and dashboard is None and pipeline.is_small(run, stages, cluster):
            stack.enter_context(_threads(run.plan.settings.threads))
            executor = stack.enter_context(on_threads(run.plan.settings.threads))
        else:
            started = stack.enter_context(start(cluster.with_workers(workers) if workers else cluster))
            settings = run.plan.settings
            started.preload(partial(preload_models, settings.detect, settings.segment, run.plan.spec.spacing))
            executor = started.executor
            if dashboard is not None:
                from mitoscale.dashboard.watching import watching

                listening.append(stack.enter_context(watching(run, stages, started, dashboard)))
        audience = Audience(*listening)
        return pipeline.execute(run, stages, executor, audience if progress is None else _Told(progress, audience), redo=redo)


class _Told(Observer):
    """Counts tasks and tells a callback, and others; what the callback raises ends the run, as Ctrl-C does."""

    def __init__(self, progress: Progress, others: Observer) -> None:
        self._progress, self._others = progress, others
        self._done: dict[str, int] = {}
        self._total: dict[str, int] = {}

    def stage_started(self, name: str, total: int, done: Collection[str]) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        self._others.stage_started(name, total, done)
        self._done[name], self._total[name] = len(done), total
        self._progress(name, len(done), total)

    def task_done(self, name: str, task: str, voxels: float) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        self._others.task_done(name, task, voxels)
        self._done[name] += 1
        self._progress(name, self._done[name], self._total[name])

    def happened(self, event: Event) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        self._others.happened(event)

    def stage_finished(self, outcome: StageOutcome) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""
        self._others.stage_finished(outcome)


def request_of(settings: dict[str, Any]) -> RunRequest:
    """Settings by the command line's names, checked; raises InputError where one is wrong or unknown."""
    reading = {name: value for name, value in settings.items() if name in Reading.model_fields}
    others = {name: value for name, value in settings.items() if name not in reading}
    try:
        return RunRequest(**({"reading": Reading(**reading)} if reading else {}), **others)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            known = ", ".join([*(n for n in RunRequest.model_fields if n != "reading"), *Reading.model_fields])
            raise InputError(f"there is no setting {name}; known are {known}") from error
        raise InputError(f"setting {name}: {problem['msg'].removeprefix('Value error, ')}, not {problem['input']!r}") from error


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Compute with a task's number of threads meanwhile: sums depend on it."""
    from mitoscale.nets.device import computing_with

    with computing_with(threads):
        yield
