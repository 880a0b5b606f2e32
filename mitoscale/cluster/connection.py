"""What each kind of cluster gives: a client, and a word on whether workers are still to come."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)
"""What a future raises when its scheduler is gone: Dask knows both."""


def no_pending_workers() -> bool:
    """No worker is on its way."""
    return False


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A way into a cluster."""

    client: Any
    """The ``distributed.Client``."""
    dashboard: str
    """Where the dashboard is; empty where there is none."""
    more_to_come: Callable[[], bool] = no_pending_workers
    """Whether workers wait in a queue, so that a cluster without any is not lost; raises StoppedError where none will come."""
