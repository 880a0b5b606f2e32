"""One long job on the cluster, such as a training: what it returns, raises and tells comes back to the client."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from mitoscale.cluster.connection import CANCELLED
from mitoscale.cluster.signals import POLL_SECONDS, put_off, put_off_no_more, raise_if_interrupted
from mitoscale.core.errors import StoppedError

Tell = Callable[[dict[str, Any]], None]
"""Called by the job with a small message for whoever waits; values as JSON has them."""

Job = Callable[[Tell], Any]
"""Picklable; what it gets to call may be left alone."""


def run_job(client: Any, job: Job, *, name: str, resource: str | None, heard: Tell | None = None) -> Any:
    """Run a job on one worker and wait for it.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    job : callable
        Picklable, such as a ``functools.partial`` of a function in a module; gets a function to tell messages with.
    name : str
        What the dashboard calls it.
    resource : str, optional
        A Dask resource it needs one of.
    heard : callable, optional
        Called with each message, in the caller's thread.

    Returns
    -------
    object
        What the job returned.

    Raises
    ------
    StoppedError
        If its worker died again and again, or the cluster is lost. What the job raises is raised as it is.
    """
    key = f"{name}-{secrets.token_hex(4)}"
    happened: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    put_off()
    client.subscribe_topic(key, lambda event: happened.put(event[1]))
    try:
        future = client.submit(_Told(job, key), key=key, resources={resource: 1} if resource else None, pure=False)
        future.add_done_callback(lambda _: happened.put(None))
        while (message := _next(happened)) is not None:
            if heard is not None:
                heard(message)
        return _outcome(future)
    finally:
        put_off_no_more()
        if client.status == "running":
            client.unsubscribe_topic(key)


def _next(happened: SimpleQueue[dict[str, Any] | None]) -> dict[str, Any] | None:
    while True:
        raise_if_interrupted()
        try:
            return happened.get(timeout=POLL_SECONDS)
        except Empty:
            continue


def _outcome(future: Any) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise StoppedError(f"the job's worker died again and again ({error}): give it more memory in cluster.yaml") from error
    except CANCELLED as error:
        raise StoppedError("the cluster was shut down; start the same command again to go on") from error


class _Told:
    """A job with its way to tell."""

    def __init__(self, job: Job, topic: str) -> None:
        self.job, self.topic = job, topic

    def __call__(self) -> Any:
        from distributed import get_worker

        worker = get_worker()
        return self.job(lambda message: worker.log_event(self.topic, message))
