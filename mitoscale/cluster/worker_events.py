"""What a scheduler says of workers that join and are lost, kept until somebody asks: also what happens between two stages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class WorkerEvents:
    """Listens from the first stage on, until it is closed.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._messages: deque[dict[str, Any]] = deque()
        self._wake: Callable[[], object] | None = None

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Meanwhile, call ``wake`` in the client's event loop when there is something to take."""
        self._wake = wake
        self._client.subscribe_topic("all", self._hear)
        if self._messages:
            wake()
        try:
            yield
        finally:
            self._wake = None

    def take(self) -> list[dict[str, Any]]:
        """What was said since it was last taken: the scheduler's own messages, ``action`` says which."""
        return [self._messages.popleft() for _ in range(len(self._messages))]

    def close(self) -> None:
        """Stop listening to the scheduler."""
        if self._client.status == "running":
            with suppress(ValueError):  # nobody listens
                self._client.unsubscribe_topic("all")

    def _hear(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if isinstance(message, dict) and message.get("action") in ("remove-worker", "add-worker"):
            self._messages.append(message)
            if (wake := self._wake) is not None:
                wake()
