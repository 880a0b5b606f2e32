"""What a worker does when it starts, also when it is started again: the same threads, memory rules and signals everywhere."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from distributed import WorkerPlugin

from mitoscale.cluster.configuration import thread_environment


class WorkerSetup(WorkerPlugin):
    """Makes a worker like all others, whoever started it.

    Parameters
    ----------
    threads : int
        Threads a task computes with.
    """

    name = "mitoscale-setup"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def setup(self, worker: Any) -> None:
        """Called by Dask in each worker."""
        # Networks read this when they are loaded; torch itself is not imported before it is needed.
        os.environ.update(thread_environment(self.threads))
        # Tasks return a few numbers: there is nothing to spill, and looking for it would hold up a worker started by hand.
        worker.memory_manager.memory_target_fraction = False
        worker.memory_manager.memory_spill_fraction = False
        if worker.nanny is not None:
            stay_on_cpus_of(os.getppid())
        # Ctrl-C reaches the whole process group; the client alone decides what becomes of the workers.
        if worker.nanny is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def stay_on_cpus_of(process: int) -> None:
    """Leave the CPUs that another process may not use, unless none would be left.

    ``dask cuda worker`` binds a worker to all CPUs beside its GPU, also to those that a queue gave to other jobs.

    Parameters
    ----------
    process : int
        Its number: of the worker's nanny, which has what the queue gave to the job.
    """
    if not hasattr(os, "sched_setaffinity"):  # not on macOS
        return
    own = os.sched_getaffinity(0)
    shared = own & os.sched_getaffinity(process)
    if shared and shared != own:
        os.sched_setaffinity(0, shared)


class ModelPreload(WorkerPlugin):
    """Loads models in a worker as soon as it starts, also when it is started again; tasks that come meanwhile wait for them.

    Parameters
    ----------
    load : callable
        Picklable; loads into a cache of the process. What it raises, the first task that needs the models raises again.
    resource : str, optional
        Only workers that offer this resource are warmed; None: all.
    """

    name = "mitoscale-model-preload"

    def __init__(self, load: Callable[[], object], resource: str | None) -> None:
        self.load, self.resource = load, resource

    def setup(self, worker: Any) -> None:
        """Called by Dask in each worker; does not hold it up."""
        if self.resource is None or self.resource in worker.state.total_resources:
            threading.Thread(target=self._preload, args=(worker,), name="mitoscale-model-preload", daemon=True).start()

    def _preload(self, worker: Any) -> None:
        try:
            self.load()
        except Exception as error:
            worker.log_event("mitoscale-model-preload", f"{type(error).__name__}: {error}")
