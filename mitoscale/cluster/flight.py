"""Tasks in flight on a Dask cluster: a bounded number at a time, and an account of the workers that died under them.

Dask computes a task again when its worker dies, on and on: one block that needs too much memory takes down worker
after worker. The scheduler says which tasks a lost worker held, so deaths are counted here, and a task that was there
too often is taken back.
"""

from __future__ import annotations

import pickle
import secrets
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from mitoscale.cluster.connection import nobody
from mitoscale.cluster.interruption import POLL_SECONDS, put_off, put_off_no_more, raise_if_interrupted
from mitoscale.core.errors import StoppedError
from mitoscale.core.event import Event, ignore
from mitoscale.core.grid import Block, Face
from mitoscale.core.result import BlockResult

Key = Block | Face
"""What one task works on."""

Function = Callable[[Any], BlockResult]
"""What is done with a key; picklable."""

CHECK_SECONDS = 30.0
"""How often the workers' health is looked at."""

IN_FLIGHT = 3
"""Tasks in flight for each slot: enough that a worker never waits, few enough that the scheduler stays light."""

NO_WORKER_SECONDS = 600.0
"""A cluster without any worker for this long counts as lost."""


@dataclass(frozen=True, kw_only=True)
class Landing:
    """How a task came back: with a result, with an error, or (with neither) not at all, because its workers died."""

    key: Key
    """What it worked on."""
    result: BlockResult | None = None
    """What it returned."""
    error: BaseException | None = None
    """What it raised at last."""
    traceback: str = ""
    """Where it raised."""
    deaths: int = 0
    """Workers that died while they held it."""


@dataclass(kw_only=True)
class _Airborne:
    key: Key
    future: Any
    deaths: int = 0


class Flight:
    """The tasks of one stage on a cluster; a context manager that takes back what is still under way at its end.

    One flight at a time for each client.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    stage : str
        First part of the tasks' names, by which the dashboard groups them.
    function : callable
        Picklable and small: settings and paths, never arrays.
    resource : str, optional
        A Dask resource each task needs one of.
    priority : int
        Larger runs first.
    slots : callable
        Tasks that are computed at once, with the workers there are or will be.
    more_to_come : callable
        Whether workers are on their way, so that a cluster without any is not lost.
    on_event : callable
        Called in the caller's thread with what happens to workers.
    """

    def __init__(
        self,
        client: Any,
        stage: str,
        function: Function,
        *,
        resource: str | None,
        priority: int,
        slots: Callable[[], int],
        more_to_come: Callable[[], bool] = nobody,
        on_event: Callable[[Event], None] = ignore,
    ) -> None:
        self._client = client
        self._more_to_come = more_to_come
        self._stage = stage
        self._slots = slots
        self._on_event = on_event
        # Sent with each task, not scattered: what is scattered is gone when the workers that hold it die.
        self._packed = pickle.dumps(function)
        self._how = {
            "resources": {resource: 1} if resource else None,
            "priority": priority,
            "retries": 0,  # the executor itself tries again, later, and tells
            "pure": False,
        }
        self._airborne: dict[str, _Airborne] = {}
        self._happened: SimpleQueue[Any] = SimpleQueue()
        self._next_check = self._last_worker = time.monotonic()
        self._limit = IN_FLIGHT
        self._submitted = 0
        # Tells this flight's tasks from those of another run on the same scheduler, whose blocks have the same names.
        self._mark = secrets.token_hex(4)

    def __enter__(self) -> Flight:
        put_off()
        self._client.subscribe_topic("all", self._hear)
        self._follow_workers()
        return self

    def __exit__(self, *_: object) -> None:
        put_off_no_more()
        if self._client.status != "running":
            return
        self._client.unsubscribe_topic("all")
        if self._airborne:
            self._client.cancel([task.future for task in self._airborne.values()])

    def over(self, keys: Iterable[Key], *, deaths: int, alone: bool = False) -> Iterator[Landing]:
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
        self._submit(islice(waiting, 1 if alone else self._limit), alone=alone)
        while self._airborne:
            yield from self._wait(deaths)
            limit = 1 if alone else self._limit
            self._submit(islice(waiting, max(0, limit - len(self._airborne))), alone=alone)

    def _submit(self, keys: Iterable[Key], *, alone: bool) -> None:
        for key in keys:
            self._submitted += 1
            name = f"{self._stage}-{key.name}-{self._mark}{self._submitted:x}{'-alone' if alone else ''}"
            future = self._client.submit(_call, self._packed, key, key=name, **self._how)
            self._airborne[name] = _Airborne(key=key, future=future)
            future.add_done_callback(self._happened.put)

    def _hear(self, event: tuple[float, Any]) -> None:
        """Called in the client's event loop with what the scheduler reports."""
        message = event[1]
        if isinstance(message, dict) and message.get("action") in ("remove-worker", "add-worker"):
            self._happened.put(message)

    def _wait(self, deaths: int) -> list[Landing]:
        """What came back since the last call; waits for something to happen, at most until the next check."""
        raise_if_interrupted()
        try:
            happened = [self._happened.get(timeout=min(max(0.0, self._next_check - time.monotonic()), POLL_SECONDS))]
            while not self._happened.empty():
                happened.append(self._happened.get_nowait())
        except Empty:
            happened = []
        dead = [name for h in happened if isinstance(h, dict) for name in self._under(h)]
        landed = self._landed([h for h in happened if not isinstance(h, dict)])
        lost = self._lost(dead, deaths)
        if time.monotonic() >= self._next_check or any(isinstance(h, dict) for h in happened):
            self._follow_workers()
        return landed + lost

    def _under(self, message: dict[str, Any]) -> list[str]:
        """Tell that a worker joined or was lost, and which of our tasks it held when it died."""
        worker = str(message.get("worker", ""))
        if message["action"] == "add-worker":
            self._on_event(Event(kind="worker joined", stage=self._stage, worker=worker))
            return []
        # Some may have come back meanwhile from another worker: they are told all the same.
        held = sorted(name for name in message["processing-tasks"] if f"-{self._mark}" in name)
        blocks = ", ".join(name.removeprefix(f"{self._stage}-").partition("-")[0] for name in held) or "nothing"
        how = "was retired" if message.get("expected") else "died"
        self._on_event(Event(kind="worker lost", stage=self._stage, worker=worker, detail=f"{how} while it held {blocks}"))
        return [] if message.get("expected") else held

    def _landed(self, futures: list[Any]) -> list[Landing]:
        tasks = [self._airborne[f.key] for f in futures if f.key in self._airborne]  # others were taken back earlier
        raised = [task for task in tasks if task.future.status == "error"]
        # What was finished and is lost again, with its worker, is computed anew: gathering waits for it.
        returned = [task for task in tasks if task.future.status != "error"]
        landings = [_landing(task, task.future.exception(), task.future.traceback()) for task in raised]
        for task, outcome in zip(returned, self._gather(returned), strict=True):
            if isinstance(outcome, StoppedError):
                raise outcome
            failed = isinstance(outcome, BaseException)
            landings.append(_landing(task, outcome, None) if failed else Landing(key=task.key, result=outcome))
        for task in tasks:
            del self._airborne[task.future.key]
        return landings

    def _gather(self, tasks: list[_Airborne]) -> list[Any]:
        """Results, in one request; where that fails because one of them has been lost meanwhile, one by one."""
        if not tasks:
            return []
        try:
            outcomes: list[Any] = self._client.gather([task.future for task in tasks])
        except CancelledError as error:
            raise StoppedError("the cluster was shut down; start the same command again to go on") from error
        except Exception:
            outcomes = [_result_or_error(task.future) for task in tasks]
        return outcomes

    def _lost(self, names: list[str], deaths: int) -> list[Landing]:
        for name in names:
            if name in self._airborne:
                self._airborne[name].deaths += 1
        given_up = {name: task for name, task in self._airborne.items() if task.deaths >= deaths}
        if given_up:
            self._client.cancel([task.future for task in given_up.values()])
        for name in given_up:
            del self._airborne[name]
        return [Landing(key=task.key, deaths=task.deaths) for task in given_up.values()]

    def _follow_workers(self) -> None:
        """Fit the bound to the workers; raise where the cluster is lost; restart workers that wait for memory in vain."""
        self._next_check = time.monotonic() + CHECK_SECONDS
        try:
            workers, stuck = self._client.run_on_scheduler(_workers_and_stuck)
            self._limit = IN_FLIGHT * self._slots()
        except Exception as error:
            raise StoppedError(f"the cluster is lost ({error}); start the same command again to go on") from error
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


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> Function:
    """The function, once a worker."""
    function: Function = pickle.loads(packed)
    return function


def _call(packed: bytes, key: Key) -> BlockResult | StoppedError:
    """What a worker runs. A full disk is returned, not raised: Dask would only try again."""
    try:
        return _unpacked(packed)(key)
    except StoppedError as error:
        return error


def _result_or_error(future: Any) -> Any:
    try:
        return future.result()
    except Exception as error:
        return error


def _landing(task: _Airborne, error: BaseException, where: Any) -> Landing:
    text = "".join(traceback.format_exception(type(error), error, where or error.__traceback__))
    return Landing(key=task.key, error=error, traceback=text, deaths=task.deaths)
