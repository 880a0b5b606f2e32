"""Tasks on threads of this process: for jobs that are done before a cluster would have started."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice

from mitoscale.cluster.bundle import Function, StageTasks
from mitoscale.cluster.configuration import thread_environment
from mitoscale.cluster.retries import RETRIES, WAITS, Failure, Retries, pauses
from mitoscale.cluster.signals import POLL_SECONDS, interruptible, pause, put_off, put_off_no_more, raise_if_interrupted
from mitoscale.cluster.task_outcome import TaskOutcome
from mitoscale.core.errors import StoppedError
from mitoscale.core.event import Event, ignore
from mitoscale.core.result import BlockResult, Key


class ThreadExecutor:
    """Runs tasks on threads; one that raises is tried again after all others, as on a cluster.

    Parameters
    ----------
    threads : int
        Tasks at once.
    waits : tuple of float
        Seconds before each round of tasks that raised.
    """

    def __init__(self, threads: int, *, waits: tuple[float, ...] = WAITS) -> None:
        self.threads = threads
        self._waits = waits

    def run(
        self,
        tasks: StageTasks,
        keys: Iterable[Key],
        *,
        on_result: Callable[[BlockResult], None],
        on_event: Callable[[Event], None] = ignore,
    ) -> list[Failure]:
        """See :class:`mitoscale.cluster.executor.Executor`."""
        retries = Retries(tasks.stage, RETRIES, on_result, on_event)
        with _Threads(self.threads, tasks.function) as pool:
            retries.run(pool, keys)
            for seconds in pauses(RETRIES, self._waits):
                if again := retries.take_raised():
                    pause(seconds)
                    retries.run(pool, again)
        return retries.failures


class _Threads:
    """A pool of threads that takes keys as threads become free."""

    def __init__(self, threads: int, function: Function) -> None:
        self._threads, self._function = threads, function
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mitoscale-task")

    def __enter__(self) -> _Threads:
        put_off()
        return self

    def __exit__(self, *_: object) -> None:
        put_off_no_more()
        self._pool.shutdown()  # waits for tasks that have begun: what they write is whole

    def over(self, keys: Iterable[Key], *, deaths: int, alone: bool = False) -> Iterator[TaskOutcome]:
        """See :class:`mitoscale.cluster.task_outcome.Pool`."""
        waiting = iter(keys)
        pending: dict[Future[BlockResult], Key] = {}
        while True:
            room = (1 if alone else self._threads) - len(pending)
            pending |= {self._pool.submit(self._function, key): key for key in islice(waiting, room)}
            if not pending:
                return
            raise_if_interrupted()
            done, _ = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                yield _outcome(pending.pop(future), future)


def _outcome(key: Key, future: Future[BlockResult]) -> TaskOutcome:
    error = future.exception()
    if error is None:
        return TaskOutcome(key=key, result=future.result())
    if isinstance(error, StoppedError):
        raise error
    return TaskOutcome(key=key, error=error, traceback="".join(traceback.format_exception(error)))


@contextmanager
def on_threads(threads: int) -> Iterator[ThreadExecutor]:
    """An executor with as many threads as this process has CPUs for tasks.

    Parameters
    ----------
    threads : int
        CPU threads a task computes with; the same number gives the same labels, bit for bit, here and on a cluster.

    Yields
    ------
    ThreadExecutor
    """
    wanted = thread_environment(threads)  # networks read this when they are loaded
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        with interruptible():
            yield ThreadExecutor(max(1, len(os.sched_getaffinity(0)) // threads))
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
