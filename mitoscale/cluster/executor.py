"""Executors: run a stage's function over its keys, in this process or on a Dask cluster."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.connection import no_pending_workers
from mitoscale.cluster.placement import Place
from mitoscale.cluster.retries import RETRIES, WAITS, Failure, Retries, failure_of, pauses, raised
from mitoscale.cluster.signals import pause
from mitoscale.cluster.task_pool import TaskPool
from mitoscale.cluster.worker_events import WorkerEvents
from mitoscale.core.errors import StoppedError
from mitoscale.core.event import Event, ignore
from mitoscale.core.result import BlockResult, Key


class Executor(Protocol):
    """Runs tasks."""

    def run(
        self,
        tasks: StageTasks,
        keys: Iterable[Key],
        *,
        on_result: Callable[[BlockResult], None],
        on_event: Callable[[Event], None] = ignore,
    ) -> list[Failure]:
        """Do tasks.

        Parameters
        ----------
        tasks : StageTasks
            What is done with each key, and where.
        keys : iterable of Block or Face
            What to do; taken one by one, as there is room.
        on_result : callable
            Called in the caller's thread, one result at a time, as tasks return.
        on_event : callable
            Called in the caller's thread with each fault.

        Returns
        -------
        list of Failure
            Tasks given up after all retries; the others are done.

        Raises
        ------
        StoppedError
            If a task raises it (disk full), if nearly all tasks raise, or the cluster is lost.
        """


class SerialExecutor:
    """Runs tasks one after another in this process, for tests and debugging; a task that raises is not tried again."""

    def run(
        self,
        tasks: StageTasks,
        keys: Iterable[Key],
        *,
        on_result: Callable[[BlockResult], None],
        on_event: Callable[[Event], None] = ignore,
    ) -> list[Failure]:
        """See :class:`Executor`."""
        failures = []
        for key in keys:
            try:
                result = tasks.function(key)
            except StoppedError:
                raise
            except Exception as error:
                failures.append(failure_of(key, error, traceback.format_exc(), attempts=1))
                on_event(raised(tasks.stage, failures[-1]))
            else:
                on_result(result)
        return failures


class DaskExecutor:
    """Runs tasks on a Dask cluster, one stage at a time; a context manager that listens to the scheduler until its end.

    A task that raises is tried again after all others; one whose worker dies is computed again by another. A task that
    was there when two workers died waits until the others are done, then runs alone: so what shared a worker with it is
    not given up.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    place : callable
        Says where the tasks of a group go, and how many are computed there at once by now.
    retries : int
        How often a task that raised is tried again.
    waits : tuple of float
        Seconds before each round of such tasks; the last counts for all further ones.
    more_to_come : callable
        Whether workers are on their way, so that a cluster without any is waited for.
    bundle : int, optional
        Keys that travel as one task; None: one, or more where tasks are too short for the scheduler.
    """

    def __init__(
        self,
        client: Any,
        *,
        place: Callable[[str | None], Place],
        retries: int = RETRIES,
        waits: tuple[float, ...] = WAITS,
        more_to_come: Callable[[], bool] = no_pending_workers,
        bundle: int | None = None,
    ) -> None:
        self.client = client
        self.place = place
        self.retries = retries
        self.waits = waits
        self.more_to_come = more_to_come
        self.bundle = bundle
        self._worker_events = WorkerEvents(client)
        self.reports: str | None = None
        """Folder that gets Dask's own report of each stage, ``STAGE.html``; None: there are none."""

    def __enter__(self) -> DaskExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker_events.close()

    def run(
        self,
        tasks: StageTasks,
        keys: Iterable[Key],
        *,
        on_result: Callable[[BlockResult], None],
        on_event: Callable[[Event], None] = ignore,
    ) -> list[Failure]:
        """See :class:`Executor`."""
        with (
            self._reported(tasks.stage),
            TaskPool(
                self.client,
                self._worker_events,
                replace(tasks, resource=self.place(tasks.resource).resource),
                slots=lambda: self.place(tasks.resource).slots,
                on_event=on_event,
                more_to_come=self.more_to_come,
                bundle=self.bundle,
            ) as pool,
        ):
            retries = Retries(tasks.stage, self.retries, on_result, on_event)
            retries.run(pool, keys)
            for wait in pauses(self.retries, self.waits):
                if again := retries.take_raised():
                    pause(wait)
                    retries.run(pool, again)
            alone = retries.take_suspects()
            for wait in (0.0, *pauses(self.retries, self.waits)):
                if alone:
                    pause(wait)
                for suspect in alone:
                    retries.run_alone(pool, suspect)
                alone = retries.take_raised()
        return retries.failures

    @contextmanager
    def _reported(self, stage: str) -> Iterator[None]:
        """Have Dask write a report of what its workers do meanwhile, where one is wanted."""
        if self.reports is None:
            yield
            return
        from distributed import performance_report

        Path(self.reports).mkdir(parents=True, exist_ok=True)
        with self.client.as_current(), performance_report(filename=str(Path(self.reports, f"{stage}.html"))):
            yield
