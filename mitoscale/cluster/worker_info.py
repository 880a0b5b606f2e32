"""Asking every worker the same question."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mitoscale.cluster.connection import no_pending_workers
from mitoscale.core.errors import StoppedError

_LOOK_SECONDS = 2.0
"""How often one asks whether workers will still come."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one worker answered."""

    name: str
    """Name by which the cluster knows the worker."""
    address: str
    """Address that the scheduler reaches it at."""
    group: str
    """Its group; empty where it was started without resources."""
    tasks: int
    """Tasks it has in hand at once."""
    memory: int
    """Memory limit in bytes; 0: none."""
    value: Any = None
    """What it answered."""
    error: str = ""
    """What went wrong instead, one line."""


def wait_for_workers(client: Any, count: int, seconds: float, more_to_come: Callable[[], bool] = no_pending_workers) -> None:
    """Wait until so many workers are there.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
    count : int
        Workers wanted.
    seconds : float
        Longest wait.
    more_to_come : callable
        Raises StoppedError where none will come.

    Raises
    ------
    StoppedError
        If they are not.
    """
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        with suppress(TimeoutError):
            client.wait_for_workers(count, timeout=min(left, _LOOK_SECONDS))
            return
        more_to_come()
    raise StoppedError(
        f"{len(client.nthreads())} of {count} workers came within {seconds:.0f} s; look at their logs and at the queue"
    )


def ask_workers(client: Any, question: Callable[[], Any]) -> list[Answer]:
    """Ask every worker, sorted by name.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    question : callable
        Picklable.
    """
    facts = client.run_on_scheduler(_facts)
    values = client.run(question, on_error="return")
    answers = (_answer(where, facts[where], value) for where, value in values.items() if where in facts)  # some may have come since
    return sorted(answers, key=lambda answer: (answer.group, answer.name))


def _answer(where: str, facts: dict[str, Any], value: Any) -> Answer:
    failed = isinstance(value, BaseException)
    error = f"{type(value).__name__}: {value}".splitlines()[0] if failed else ""
    return Answer(address=where, value=None if failed else value, error=error, **facts)


def _facts(dask_scheduler: Any) -> dict[str, dict[str, Any]]:
    """Runs on the scheduler: what it knows of each worker."""
    return {
        address: {
            "name": str(worker.name),
            "group": ",".join(worker.resources),
            "tasks": worker.nthreads,
            "memory": worker.memory_limit or 0,
        }
        for address, worker in dask_scheduler.workers.items()
    }
