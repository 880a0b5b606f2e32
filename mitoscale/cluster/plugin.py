"""What a worker does when it starts: fix the number of threads, so that results do not depend on the machine."""

from __future__ import annotations

import os
from typing import Any

from distributed import WorkerPlugin


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
        os.environ["MITOSCALE_THREADS"] = str(self.threads)
