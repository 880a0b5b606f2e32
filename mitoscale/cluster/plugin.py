"""What a worker does when it starts: fix the number of threads, so that results do not depend on the machine."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from distributed import WorkerPlugin


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables that give a task its threads.

    ``MITOSCALE_THREADS`` is read by the networks and by the storage; the others by OpenMP, MKL and OpenBLAS when they
    are loaded. Without them a nanny's ``OMP_NUM_THREADS=1`` would decide.

    Examples
    --------
    >>> thread_environment(2)["OMP_NUM_THREADS"]
    '2'
    """
    names = ("MITOSCALE_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def memory_environment() -> dict[str, str]:
    """Environment variables that let a worker keep the memory it frees.

    Networks free and take the same large tensors for every slice. Given back to the system each time, as by default and
    even more with Dask's own setting, their pages are cleared again and again: a third of a detector's CPU time.

    Examples
    --------
    >>> sorted(memory_environment())
    ['MALLOC_MMAP_THRESHOLD_', 'MALLOC_TOP_PAD_', 'MALLOC_TRIM_THRESHOLD_']
    """
    return {
        "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
        "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30),
        "MALLOC_TOP_PAD_": str(64 * 2**20),
    }


class WorkerSetup(WorkerPlugin):
    """Sets the threads of a task in every worker, also in one that is restarted.

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
        # Ctrl-C reaches the whole process group; the client alone decides what becomes of the workers.
        if worker.nanny is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
