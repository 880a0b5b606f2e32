"""Shows a run's board on the scheduler while the run goes on; nothing that goes wrong here reaches the run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mitoscale.dashboard.plugin import pin

_log = logging.getLogger(__name__)

SECONDS = 1.0
"""Between two looks at the board."""

FAILURES = 5
"""After so many failures in a row it is shown no more."""


@contextmanager
def publishing(client: Any, name: str, news: Callable[[], bytes | None]) -> Iterator[None]:
    """Meanwhile send the scheduler what is new, about once a second, and once more at the end.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    name : str
        Name of the board.
    news : callable
        The board, packed; None where nothing has changed. Called in a thread of its own.
    """
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(client, name, news, over), name="mitoscale-board", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=10)


def _show(client: Any, name: str, news: Callable[[], bytes | None], over: threading.Event) -> None:
    failures, unsent = 0, None
    last = False
    while not last and client.status == "running":
        last = over.wait(SECONDS)
        try:
            unsent = news() or unsent
            if unsent is not None:
                client.run_on_scheduler(pin, name, client.id, unsent)
            failures, unsent = 0, None
        except Exception as error:
            failures += 1
            if failures == FAILURES:
                _log.warning("the page about this run in the dashboard is no longer brought up to date: %s", error)
                return
