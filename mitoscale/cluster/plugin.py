"""What a worker does when it starts, also when it is started again: the same threads, memory rules and signals everywhere."""

from __future__ import annotations

import os
import signal
import threading
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
        # Ctrl-C reaches the whole process group; the client alone decides what becomes of the workers.
        if worker.nanny is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
