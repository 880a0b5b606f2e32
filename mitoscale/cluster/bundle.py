"""What a worker runs: a stage's function over one key, or, where tasks are short, over a few of them.

Client and scheduler need some milliseconds for each task. Where many workers end tasks faster than that, several keys travel
as one task, a bundle. A key stays what is done, fails and is tried again: a bundle answers for each of its keys apart.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from mitoscale.core.errors import StoppedError
from mitoscale.core.overhead import bundle_size
from mitoscale.core.result import BlockResult, Key

Function = Callable[[Any], BlockResult]
"""What is done with a key; picklable."""


@dataclass(frozen=True)
class StageTasks:
    """What the tasks of a stage have in common."""

    stage: str
    """Name that tasks are grouped by."""
    function: Function
    """Picklable; gets a key, returns its result."""
    resource: str | None = None
    """The group of workers that should take the tasks (``io``, ``gpu``, ``train``), or another Dask resource that each task needs
    one of."""
    priority: int = 0
    """Larger runs first."""


RECENT = 0.1
"""Weight of the latest key in the mean of what keys take."""


@dataclass(frozen=True, kw_only=True)
class Raised:
    """What one key of a bundle raised."""

    error: BaseException
    """The exception, or a RuntimeError with its text where it cannot be pickled."""
    traceback: str
    """Where it was raised."""


Outcome = BlockResult | Raised | StoppedError
"""What becomes of a key: its result, what it raised, or the news that nothing can go on."""


class Bundling:
    """How many keys should travel together, from how long they have taken of late.

    Parameters
    ----------
    fixed : int, optional
        So many travel together whatever they take.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._seconds: float | None = None

    def note(self, result: BlockResult) -> None:
        """Take the time of one more key into account, where its result holds one."""
        if result.seconds:
            took = sum(result.seconds.values())
            self._seconds = took if self._seconds is None else self._seconds + RECENT * (took - self._seconds)

    def size(self, slots: int) -> int:
        """See :func:`mitoscale.core.overhead.bundle_size`; 1 before any key is done."""
        return self._fixed or (1 if self._seconds is None else bundle_size(self._seconds, slots))


def bundles(keys: Iterable[Key], size: int) -> Iterator[tuple[Key, ...]]:
    """Keys in tuples of ``size``, the last one smaller; taken as they are asked for.

    Parameters
    ----------
    keys : iterable of Key
        Tasks in their order.
    size : int
        Tasks that travel together.
    """
    waiting = iter(keys)
    while bundle := tuple(islice(waiting, size)):
        yield bundle


def pack(keys: Sequence[Key]) -> bytes:
    """Keys as Dask carries them: it does not look into bytes."""
    return pickle.dumps(tuple(keys))


def call(function: bytes, keys: bytes) -> list[Outcome]:
    """What a worker runs.

    A full disk is returned, not raised: Dask would only try again. What a key raises is raised where it came alone, so
    that Dask's dashboard shows it, and returned where others came with it.

    Parameters
    ----------
    function : bytes
        Pickled.
    keys : bytes
        Of :func:`pack`.

    Returns
    -------
    list
        An outcome for each key, in order; shorter where a StoppedError ends it.
    """
    wanted = pickle.loads(keys)
    if len(wanted) == 1:
        return [_result_or_stop(function, wanted[0])]
    outcomes: list[Outcome] = []
    for key in wanted:
        try:
            outcomes.append(_result_or_stop(function, key))
        except Exception as error:
            outcomes.append(Raised(error=_picklable(error), traceback=traceback.format_exc()))
        if isinstance(outcomes[-1], StoppedError):
            break
    return outcomes


def _result_or_stop(function: bytes, key: Key) -> BlockResult | StoppedError:
    try:
        return _unpacked(function)(key)
    except StoppedError as error:
        return error


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> Function:
    """The function, once a worker."""
    function: Function = pickle.loads(packed)
    return function


def _picklable(error: Exception) -> BaseException:
    """The exception itself if it arrives whole, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
