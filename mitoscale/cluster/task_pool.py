"""Tasks on a Dask cluster: a bounded number at a time; :mod:`mitoscale.cluster.worker_deaths` says which are taken back."""

from __future__ import annotations

import pickle
import secrets
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from mitoscale.cluster.bundle import Bundling, Outcome, Raised, StageTasks, bundles, call, pack
from mitoscale.cluster.connection import CANCELLED, no_pending_workers
from mitoscale.cluster.result_gathering import Fetched, fetch
from mitoscale.cluster.signals import POLL_SECONDS, put_off, put_off_no_more, raise_if_interrupted
from mitoscale.cluster.task_outcome import TaskOutcome
from mitoscale.cluster.worker_deaths import PendingTask, count_deaths
from mitoscale.cluster.worker_events import WorkerEvents
from mitoscale.core.errors import StoppedError
from mitoscale.core.event import Event, ignore
from mitoscale.core.result import Key

CHECK_SECONDS = 30.0
"""How often the workers' health is looked at."""

IN_FLIGHT = 3
"""Tasks in flight for each slot: enough that a worker never waits, few enough that the scheduler stays light."""

REFILL = 50
"""So many results are kept at most before places that have become free are filled again."""

NO_WORKER_SECONDS = 600.0
"""A cluster without any worker for this long counts as lost."""


class TaskPool:
    """The tasks of one stage on a cluster; a context manager that takes back what is still under way at its end.

    One pool at a time for each client.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    worker_events : WorkerEvents
        What happens to its workers.
    tasks : StageTasks
        Their stage is the first part of their names, by which the dashboard groups them; their function is small: settings and
        paths, never arrays; their resource is Dask's.
    slots : callable
        Tasks that are computed at once, with the workers there are or will be.
    more_to_come : callable
        Whether workers are on their way, so that a cluster without any is not lost.
    on_event : callable
        Called in the caller's thread with what happens to workers.
    bundle : int, optional
        Keys that travel as one task; None: as many as what they take suggests.
    """

    def __init__(
        self,
        client: Any,
        worker_events: WorkerEvents,
        tasks: StageTasks,
        *,
        slots: Callable[[], int],
        more_to_come: Callable[[], bool] = no_pending_workers,
        on_event: Callable[[Event], None] = ignore,
        bundle: int | None = None,
    ) -> None:
        self._client = client
        self._worker_events = worker_events
        self._open = ExitStack()
        self._more_to_come = more_to_come
        self._stage = tasks.stage
        self._slots = slots
        self._on_event = on_event
        # Sent with each task, not scattered: what is scattered is gone when the workers that hold it die.
        self._packed = pickle.dumps(tasks.function)
        self._how = {
            "resources": {tasks.resource: 1} if tasks.resource else None,
            "priority": tasks.priority,
            "retries": 0,  # the executor itself tries again, later, and tells
            "pure": False,
        }
        self._bundling = Bundling(bundle)
        self._pending: dict[str, PendingTask] = {}
        self._again: deque[tuple[Key, int]] = deque()
        self._happened: SimpleQueue[Any] = SimpleQueue()
        self._next_check = self._last_worker = time.monotonic()
        self._slots_now = 1
        self._submitted = 0
        # Tells this pool's tasks from those of another run on the same scheduler, whose blocks have the same names.
        self._mark = secrets.token_hex(4)

    def __enter__(self) -> TaskPool:
        put_off()
        self._open.enter_context(self._worker_events.waking(partial(self._happened.put, None)))
        self._follow_workers()
        return self

    def __exit__(self, *_: object) -> None:
        put_off_no_more()
        self._open.close()
        if self._client.status != "running":
            return
        if self._pending:
            self._client.cancel([task.future for task in self._pending.values()])

    def over(self, keys: Iterable[Key], *, deaths: int, alone: bool = False) -> Iterator[TaskOutcome]:
        """Compute keys, a bounded number in flight, and yield each as it comes back.

        The bound follows the workers that join and leave.

        Parameters
        ----------
        keys : iterable of Block or Face
            Taken one by one, as places become free.
        deaths : int
            A task whose workers died this often is taken back.
        alone : bool
            One at a time.

        Raises
        ------
        StoppedError
            If a task says that nothing can go on (disk full), or if the cluster is lost.
        """
        waiting = iter(keys)
        self._refill(waiting, alone)
        while self._pending:
            outcomes = iter(self._wait(deaths))
            while some := list(islice(outcomes, REFILL)):
                yield from some
                self._refill(waiting, alone)
            self._refill(waiting, alone)

    def _refill(self, waiting: Iterator[Key], alone: bool) -> None:
        """Submit what there is room for: first what comes back from bundles, one by one."""
        room = (1 if alone else IN_FLIGHT * self._slots_now) - len(self._pending)
        while self._again and room > 0:
            key, deaths = self._again.popleft()
            self._submit([(key,)], alone=alone, deaths=deaths)
            room -= 1
        size = 1 if alone else self._bundling.size(self._slots_now)
        self._submit(islice(bundles(waiting, size), max(0, room)), alone=alone)

    def _submit(self, wanted: Iterable[tuple[Key, ...]], *, alone: bool, deaths: int = 0) -> None:
        """Send some tasks in one message; each is named after its first key."""
        tasks: dict[str, tuple[Key, ...]] = {}
        for keys in wanted:
            self._submitted += 1
            tasks[f"{self._stage}-{keys[0].name}-{self._mark}{self._submitted:x}{'-alone' if alone else ''}"] = keys
        if not tasks:
            return
        packed = [pack(keys) for keys in tasks.values()]
        futures = self._client.map(partial(call, self._packed), packed, key=list(tasks), **self._how)
        for (name, keys), future in zip(tasks.items(), futures, strict=True):
            self._pending[name] = PendingTask(keys=keys, future=future, deaths=deaths)
            future.add_done_callback(self._happened.put)

    def _wait(self, deaths: int) -> list[TaskOutcome]:
        """What came back since the last call; waits for something to happen, at most until the next check."""
        raise_if_interrupted()
        try:
            happened = [self._happened.get(timeout=min(max(0.0, self._next_check - time.monotonic()), POLL_SECONDS))]
            while not self._happened.empty():
                happened.append(self._happened.get_nowait())
        except Empty:
            happened = []
        heard = self._worker_events.take()
        dead = [name for message in heard for name in self._under(message)]
        ended = [h for h in happened if not isinstance(h, Fetched | None) and h.key in self._pending]
        if ended:  # others were taken back earlier
            fetch(self._client, ended, self._happened.put)
        returned = [outcome for h in happened if isinstance(h, Fetched) for outcome in self._outcomes(h)]
        lost = self._lost(dead, deaths)
        if time.monotonic() >= self._next_check or heard:
            self._follow_workers()
        return returned + lost

    def _under(self, message: dict[str, Any]) -> list[str]:
        """Tell that a worker joined or was lost, and which of our tasks it held when it died."""
        worker = str(message.get("worker", ""))
        if message["action"] == "add-worker":
            self._on_event(Event(kind="worker joined", stage=self._stage, worker=worker))
            return []
        # Some may have come back meanwhile from another worker: they are told all the same.
        held = sorted(name for name in message["processing-tasks"] if f"-{self._mark}" in name)
        blocks = ", ".join(name for task in held for name in self._names(task)) or "nothing"
        how = "was retired" if message.get("expected") else "died"
        self._on_event(Event(kind="worker lost", stage=self._stage, worker=worker, detail=f"{how} while it held {blocks}"))
        return [] if message.get("expected") else held

    def _names(self, task: str) -> list[str]:
        """The keys' names of one of our tasks."""
        if task in self._pending:
            return [key.name for key in self._pending[task].keys]
        return [task.removeprefix(f"{self._stage}-").partition("-")[0]]

    def _outcomes(self, fetched: Fetched) -> list[TaskOutcome]:
        """Outcomes of tasks whose answers are there; bundles that failed as a whole are submitted again, key by key."""
        outcomes: list[TaskOutcome] = []
        for future, answer in zip(fetched.futures, fetched.answers, strict=True):
            task = self._pending.pop(future.key, None)
            if task is None:
                continue  # taken back meanwhile
            if isinstance(answer, CANCELLED):
                raise StoppedError("the cluster was shut down; start the same command again to go on") from answer
            if not isinstance(answer, BaseException):
                outcomes += [self._outcome(key, outcome, task.deaths) for key, outcome in zip(task.keys, answer, strict=False)]
            elif len(task.keys) > 1:
                self._again.extend((key, task.deaths) for key in task.keys)
            else:
                trace = "".join(traceback.format_exception(answer))
                outcomes.append(TaskOutcome(key=task.keys[0], error=answer, traceback=trace, deaths=task.deaths))
        return outcomes

    def _outcome(self, key: Key, outcome: Outcome, deaths: int) -> TaskOutcome:
        if isinstance(outcome, StoppedError):
            raise outcome
        if isinstance(outcome, Raised):
            return TaskOutcome(key=key, error=outcome.error, traceback=outcome.traceback, deaths=deaths)
        self._bundling.note(outcome)
        return TaskOutcome(key=key, result=outcome, deaths=deaths)

    def _lost(self, names: list[str], deaths: int) -> list[TaskOutcome]:
        """Count the deaths of workers: give back what killed too many, and submit bundles again key by key."""
        outcomes = []
        for task in count_deaths(self._pending, names, most=deaths):
            self._client.cancel([task.future])
            if len(task.keys) == 1:
                outcomes.append(TaskOutcome(key=task.keys[0], deaths=task.deaths))
            else:
                self._again.extend((key, task.deaths) for key in task.keys)
        return outcomes

    def _follow_workers(self) -> None:
        """Fit the bound to the workers; raise where the cluster is lost; restart workers that wait for memory in vain."""
        self._next_check = time.monotonic() + CHECK_SECONDS
        try:
            workers, stuck = self._client.run_on_scheduler(_workers_and_stuck)
            self._slots_now = self._slots()
        except Exception as error:
            reason = str(error) if self._client.status == "running" else "its scheduler answers no more"
            raise StoppedError(f"the cluster is lost ({reason}); start the same command again to go on") from error
        if self._more_to_come() or workers:
            self._last_worker = time.monotonic()
        elif time.monotonic() - self._last_worker > NO_WORKER_SECONDS:
            raise StoppedError(
                f"the cluster has had no worker for {NO_WORKER_SECONDS / 60:.0f} minutes; start the same command again to go on"
            )
        if stuck:
            self._client.restart_workers(stuck, timeout=60, raise_for_error=False)


def _workers_and_stuck(dask_scheduler: Any) -> tuple[int, list[str]]:
    """Runs on the scheduler: the number of workers, and those paused for memory while they compute nothing."""
    states = dask_scheduler.workers.values()
    return len(states), [w.address for w in states if w.status.name == "paused" and w.processing and not w.executing]
