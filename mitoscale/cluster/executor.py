"""Executors: run a stage's function over its keys, here or on a Dask cluster, with a bounded number of tasks in flight."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mitoscale.core.errors import StoppedError
from mitoscale.core.grid import Block, Face
from mitoscale.core.result import BlockResult

Key = Block | Face
Function = Callable[[Any], BlockResult]

IN_FLIGHT = 3
"""Tasks in flight for each slot: enough that a worker never waits, few enough that the scheduler stays light."""


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
            Called here, one result at a time, as tasks return.
        resource : str, optional
            A Dask resource each task needs one of.
        priority : int
            Larger runs first.

        Returns
        -------
        list of Failure
            Tasks given up after all retries; the others are done.
        """


class SerialExecutor:
    """Runs tasks one after another in this process, for tests and debugging."""

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
                failures.append(_failure(key.name, error))
            else:
                on_result(result)
        return failures


class DaskExecutor:
    """Runs tasks on a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    slots : int
        Tasks the cluster computes at once.
    retries : int
        How often a task that raised is tried again.
    """

    def __init__(self, client: Any, *, slots: int, retries: int = 2) -> None:
        self.client = client
        self.slots = slots
        self.retries = retries

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
        """See :class:`Executor`; a disk that is full stops the run at once."""
        from distributed import as_completed

        waiting = iter(keys)
        names: dict[Any, str] = {}
        failures: list[Failure] = []
        packed = pickle.dumps(function)  # a few hundred bytes: settings and paths, never arrays

        def submit(count: int) -> Iterator[Any]:
            for _, key in zip(range(count), waiting, strict=False):
                future = self.client.submit(
                    _call,
                    packed,
                    key,
                    key=f"{stage}-{key.name}",
                    retries=self.retries,
                    priority=priority,
                    resources={resource: 1} if resource else None,
                    pure=False,
                )
                names[future] = key.name
                yield future

        running = as_completed(list(submit(IN_FLIGHT * self.slots)))
        try:
            for batch in running.batches():
                for future in batch:
                    name = names.pop(future)
                    if future.status == "finished":
                        on_result(future.result())
                    else:
                        error = future.exception()
                        if isinstance(error, StoppedError):
                            raise error
                        failures.append(_failure(name, error, future.traceback()))
                running.update(list(submit(len(batch))))
        finally:
            self.client.cancel(list(names))
        return failures


def _call(packed: bytes, key: Key) -> BlockResult:
    """What a worker runs."""
    result: BlockResult = pickle.loads(packed)(key)
    return result


def _failure(name: str, error: BaseException | None, where: Any = None) -> Failure:
    trace = where if where is not None else getattr(error, "__traceback__", None)
    text = "".join(traceback.format_exception(type(error), error, trace)) if error is not None else "cancelled"
    return Failure(name=name, error=f"{type(error).__name__}: {error}".splitlines()[0], traceback=text)
