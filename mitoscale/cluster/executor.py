"""Executors: run a stage's function over its keys, in this process or on a Dask cluster."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mitoscale.cluster.bundle import Function, Key
from mitoscale.cluster.connection import nobody
from mitoscale.cluster.flight import Flight, Landing
from mitoscale.cluster.interruption import pause
from mitoscale.cluster.placement import Place
from mitoscale.core.errors import DamagedError, StoppedError
from mitoscale.core.event import Event, ignore
from mitoscale.core.result import BlockResult

RETRIES = 2
"""How often a task that raised is tried again, after all others of its stage."""

WAITS = (1.0, 4.0)
"""Seconds before each of these rounds: what is wrong with a disk or a network may pass."""

FAILURES_IN_A_ROW = 100
"""So many tasks that raise one after the other, none returning, are not the blocks' fault: the run stops."""

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
    attempts: int = 1
    """How often it was tried."""
    damaged: tuple[str, str] | None = None
    """Stage and name of the earlier task whose result was found missing or broken, where that was the reason."""


class Executor(Protocol):
    """Runs tasks."""

    def run(
        self,
        stage: str,
        function: Function,
        keys: Iterable[Key],
        *,
        on_result: Callable[[BlockResult], None],
        on_event: Callable[[Event], None] = ignore,
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
        keys : iterable of Block or Face
            What to do; taken one by one, as there is room.
        on_result : callable
            Called in the caller's thread, one result at a time, as tasks return.
        on_event : callable
            Called in the caller's thread with each fault.
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
            If a task raises it (disk full), if nearly all tasks raise, or the cluster is lost.
        """


class SerialExecutor:
    """Runs tasks one after another in this process, for tests and debugging; a task that raises is not tried again."""

    def run(
        self,
        stage: str,
        function: Function,
        keys: Iterable[Key],
        *,
        on_result: Callable[[BlockResult], None],
        on_event: Callable[[Event], None] = ignore,
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
                failures.append(_failure(key, error, traceback.format_exc(), attempts=1))
                on_event(_raised(stage, failures[-1]))
            else:
                on_result(result)
        return failures


class DaskExecutor:
    """Runs tasks on a Dask cluster, one stage at a time.

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
        more_to_come: Callable[[], bool] = nobody,
        bundle: int | None = None,
    ) -> None:
        self.client = client
        self.place = place
        self.retries = retries
        self.waits = waits
        self.more_to_come = more_to_come
        self.bundle = bundle
        self.reports: str | None = None
        """Folder that gets Dask's own report of each stage, ``STAGE.html``; None: there are none."""

    def run(
        self,
        stage: str,
        function: Function,
        keys: Iterable[Key],
        *,
        on_result: Callable[[BlockResult], None],
        on_event: Callable[[Event], None] = ignore,
        resource: str | None = None,
        priority: int = 0,
    ) -> list[Failure]:
        """See :class:`Executor`."""
        with self._reported(stage):
            return self._run(stage, function, keys, on_result, on_event, resource, priority)

    @contextmanager
    def _reported(self, stage: str) -> Iterator[None]:
        """Have Dask write a report of what its workers do meanwhile, where one is wanted."""
        if self.reports is None:
            yield
            return
        from distributed import performance_report

        Path(self.reports).mkdir(parents=True, exist_ok=True)
        with performance_report(filename=str(Path(self.reports, f"{stage}.html"))):
            yield

    def _run(
        self,
        stage: str,
        function: Function,
        keys: Iterable[Key],
        on_result: Callable[[BlockResult], None],
        on_event: Callable[[Event], None],
        resource: str | None,
        priority: int,
    ) -> list[Failure]:
        with Flight(
            self.client,
            stage,
            function,
            resource=self.place(resource).resource,
            slots=lambda: self.place(resource).slots,
            priority=priority,
            on_event=on_event,
            more_to_come=self.more_to_come,
            bundle=self.bundle,
        ) as flight:
            rounds = _Rounds(stage, on_result, on_event)
            rounds.fly(flight, keys, last=self.retries == 0)
            for attempt in range(1, self.retries + 1):
                raised = rounds.take_raised()
                if not raised:
                    break
                pause(self.waits[min(attempt, len(self.waits)) - 1])
                rounds.fly(flight, raised, last=attempt == self.retries)
            for suspect in rounds.suspects:
                rounds.fly_alone(flight, suspect)
        return rounds.failures


class _Rounds:
    """What became of a stage's tasks so far: given up, raised and to be tried again, suspected of killing workers."""

    def __init__(self, stage: str, on_result: Callable[[BlockResult], None], on_event: Callable[[Event], None]) -> None:
        self.failures: list[Failure] = []
        self.suspects: list[Key] = []
        self._stage, self._on_result, self._on_event = stage, on_result, on_event
        self._raised: list[Key] = []
        self._attempts: Counter[str] = Counter()
        self._in_a_row = 0

    def take_raised(self) -> list[Key]:
        """The tasks that raised in the last round."""
        raised, self._raised = self._raised, []
        return raised

    def fly(self, flight: Flight, keys: Iterable[Key], *, last: bool) -> None:
        """One round in company."""
        for landing in flight.over(keys, deaths=DEATHS_IN_COMPANY):
            if _lost(landing):
                self.suspects.append(landing.key)
                detail = f"{DEATHS_IN_COMPANY} workers died while they held it; it will run alone"
                self._on_event(Event(kind="taken back", stage=self._stage, task=landing.key.name, detail=detail))
            else:
                self._settle(landing, last)

    def fly_alone(self, flight: Flight, key: Key) -> None:
        """A suspect by itself."""
        for landing in flight.over([key], deaths=DEATHS_ALONE, alone=True):
            if _lost(landing):
                self.failures.append(_killer(key))
            else:
                self._settle(landing, last=True)

    def _settle(self, landing: Landing, last: bool) -> None:
        key = landing.key
        if landing.error is None:
            assert landing.result is not None
            self._in_a_row = 0
            if key.name in self._attempts:
                self._on_event(Event(kind="healed", stage=self._stage, task=key.name, attempt=self._attempts[key.name] + 1))
            self._on_result(landing.result)
            return
        self._attempts[key.name] += 1
        failure = _failure(key, landing.error, landing.traceback, attempts=self._attempts[key.name])
        self._on_event(_raised(self._stage, failure))
        self._in_a_row += 1
        if self._in_a_row >= FAILURES_IN_A_ROW:
            raise StoppedError(
                f"{self._stage}: {self._in_a_row} tasks in a row failed, the last with {failure.error}; "
                "repair what they have in common, then start the same command again"
            )
        if last or failure.damaged:
            self.failures.append(failure)
        else:
            self._raised.append(key)


def _raised(stage: str, failure: Failure) -> Event:
    return Event(kind="raised", stage=stage, task=failure.name, attempt=failure.attempts, detail=failure.error)


def _lost(landing: Landing) -> bool:
    """Whether workers died under the task too often, by our count or, where a report went astray, by Dask's."""
    return landing.result is None and (landing.error is None or type(landing.error).__name__ == "KilledWorker")


def _killer(key: Key) -> Failure:
    error = (
        f"its worker died each of {DEATHS_ALONE} times that it ran alone: out of memory? "
        "choose smaller blocks with --block, or give workers more memory in cluster.yaml"
    )
    return Failure(name=key.name, error=error, traceback=error, attempts=DEATHS_IN_COMPANY + DEATHS_ALONE)


def _failure(key: Key, error: BaseException, trace: str, *, attempts: int) -> Failure:
    damaged = (error.stage, error.task) if isinstance(error, DamagedError) else None
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return Failure(name=key.name, error=line, traceback=trace, attempts=attempts, damaged=damaged)
