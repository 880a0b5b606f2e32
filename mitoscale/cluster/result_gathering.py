"""Fetching what tasks answered while others go on: a worker that hangs holds up nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mitoscale.cluster.connection import CANCELLED


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Answers that have arrived."""

    futures: Sequence[Any]
    """Futures of the tasks that are waited for."""
    answers: Sequence[Any]
    """Of each what it returned, or the exception it raised."""


def fetch(client: Any, futures: Sequence[Any], put: Callable[[Fetched], None]) -> None:
    """Have answers fetched in the client's event loop.

    Parameters
    ----------
    client : distributed.Client
        Not used asynchronously otherwise.
    futures : sequence of distributed.Future
        Of tasks that have ended. What was finished and is lost again, with its worker, is computed anew: that is waited for.
    put : callable
        Called once, in the event loop.
    """
    client.loop.add_callback(_fetch, client, futures, put)


async def _fetch(client: Any, futures: Sequence[Any], put: Callable[[Fetched], None]) -> None:
    try:
        answers = await client.gather(list(futures), asynchronous=True)
    except (Exception, *CANCELLED):  # one of them has raised, was lost or was taken back
        answers = [await _answer(client, future) for future in futures]
    put(Fetched(futures=futures, answers=answers))


async def _answer(client: Any, future: Any) -> Any:
    try:
        (answer,) = await client.gather([future], asynchronous=True)
    except (Exception, *CANCELLED) as error:
        return error
    else:
        return answer
