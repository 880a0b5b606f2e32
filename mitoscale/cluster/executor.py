"""Executors: run a stage's function over its keys, in this process or on a Dask cluster."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mitoscale.cluster.connection import nobody
from mitoscale.cluster.flight import Flight, Function, Key, Landing
from mitoscale.cluster.placement import Place
from mitoscale.core.errors import StoppedError
from mitoscale.core.result import BlockResult

IN_FLIGHT = 3
"""Tasks in flight for each slot: enough that a worker never waits, few enough that the scheduler stays light."""

DEATHS_IN_COMPANY = 2
"""A task that was on this many workers when they died is run alone, so that it is clear which one kills."""

DEATHS_ALONE = 3
"""A task that alone killed this many workers is given up."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A task that was given up."""

    name: str
    """The block's or face's name."""
    error: str
    """What went wrong, one line."""
    traceback: str
    """Where it went wrong."""


class Executor(Protocol):
    """Runs tasks."""

    def run(
        self,
        stage: str,
        function: Function,
        keys: Sequence[Key],
        *,
        on_result: Callable[[BlockResult], None],
        resource: str | None = None,
        priority: int = 0,
    ) -> list[Failure]:
        """Run ``function`` over ``keys``.

        Parameters
        ----------
        stage : str
            Name that tasks are grouped by.
        function : callable
            Picklable; gets a key, returns its result.
        keys : sequence of Block or Face
            What to do.
        on_result : callable
            Called in the caller's thread, one result at a time, as tasks return.
        resource : str, optional
            The group of workers that should take the tasks (``io``, ``gpu``, ``train``), or another Dask resource that
            each task needs one of.
        priority : int
            Larger runs first.

        Returns
        -------
        list of Failure
            Tasks given up after all retries; the others are done.

        Raises
        ------
        StoppedError
            If a task raises it (disk full), or the cluster is lost.
        """


class SerialExecutor:
    """Runs tasks one after another in this process, for tests and debugging; a task that raises is not tried again."""

    def run(
        self,
        stage: str,
        function: Function,
        keys: Sequence[Key],
        *,
        on_result: Callable[[BlockResult], None],
        resource: str | None = None,
        priority: int = 0,
    ) -> list[Failure]:
        """See :class:`Executor`."""
        failures = []
        for key in keys:
            try:
                result = function(key)
            except StoppedError:
                raise
            except Exception as error:
                failures.append(_failure(key, error, traceback.format_exc()))
            else:
                on_result(result)
        return failures


class DaskExecutor:
    """Runs tasks on a Dask cluster, one stage at a time.

    A task that raises is tried again; one whose worker dies is computed again by another. A task that was there when
    two workers died waits until the others are done, then runs alone: so what shared a worker with it is not given up.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    place : callable
        Says where the tasks of a group go, and how many are computed there at once.
    retries : int
        How often a task that raised is tried again.
    more_to_come : callable
        Whether workers are on their way, so that a cluster without any is waited for.
    """

    def __init__(
        self,
        client: Any,
        *,
        place: Callable[[str | None], Place],
        retries: int = 2,
        more_to_come: Callable[[], bool] = nobody,
    ) -> None:
        self.client = client
        self.place = place
        self.retries = retries
        self.more_to_come = more_to_come

    def run(
        self,
        stage: str,
        function: Function,
        keys: Sequence[Key],
        *,
        on_result: Callable[[BlockResult], None],
        resource: str | None = None,
        priority: int = 0,
    ) -> list[Failure]:
        """See :class:`Executor`."""
        failures: list[Failure] = []
        suspects: list[Key] = []

        def settle(landing: Landing) -> None:
            if landing.result is not None:
                on_result(landing.result)
            elif landing.error is not None:
                failures.append(_failure(landing.key, landing.error, landing.traceback))

        place = self.place(resource)
        with Flight(
            self.client,
            stage,
            function,
            resource=place.resource,
            priority=priority,
            retries=self.retries,
            more_to_come=self.more_to_come,
        ) as flight:
            for landing in flight.over(keys, limit=IN_FLIGHT * place.slots, deaths=DEATHS_IN_COMPANY):
                if _lost(landing):
                    suspects.append(landing.key)
                else:
                    settle(landing)
            for suspect in suspects:
                for landing in flight.over([suspect], limit=1, deaths=DEATHS_ALONE):
                    if _lost(landing):
                        failures.append(_killer(landing.key))
                    else:
                        settle(landing)
        return failures


def _lost(landing: Landing) -> bool:
    """Whether workers died under the task too often, by our count or, where a report went astray, by Dask's."""
    return landing.result is None and (landing.error is None or type(landing.error).__name__ == "KilledWorker")


def _killer(key: Key) -> Failure:
    error = (
        f"its worker died each of {DEATHS_ALONE} times that it ran alone: out of memory? "
        "choose smaller blocks with --block, or give workers more memory in cluster.yaml"
    )
    return Failure(name=key.name, error=error, traceback=error)


def _failure(key: Key, error: BaseException, trace: str) -> Failure:
    return Failure(name=key.name, error=f"{type(error).__name__}: {error}".splitlines()[0], traceback=trace)
