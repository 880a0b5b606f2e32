"""Executors that treat tasks badly: any order, results that get lost, clients that stop, workers that are killed."""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.retries import Failure
from mitoscale.core.errors import StoppedError
from mitoscale.core.result import BlockResult


class Hostile:
    """Does tasks in this process, in a random order; some, always the first, are done and forgotten, some runs stop half-way.

    Parameters
    ----------
    seed : int
        Of all that goes wrong.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.forgotten = self.stops = 0

    def run(self, tasks: StageTasks, keys: Sequence[Any], *, on_result: Callable[..., None], **options: Any) -> list[Failure]:
        """See :class:`mitoscale.cluster.executor.Executor`."""
        waiting = list(keys)
        while waiting:
            key = waiting.pop(self.random.randrange(len(waiting)))
            if self.random.random() < 0.03:
                self.stops += 1
                raise StoppedError("the cluster is lost")
            copy, copied = pickle.loads(pickle.dumps((tasks.function, key)))
            result = copy(copied)
            if not self.forgotten or self.random.random() < 0.2:  # its worker died when all was written, before it could tell
                self.forgotten += 1
                waiting.append(key)
            else:
                on_result(result)
        return []


class Deadly:
    """Hands tasks to another executor, and kills the worker under some of them, at any moment of their first attempt.

    Parameters
    ----------
    executor : Executor
        Of a real cluster.
    folder : str
        Where first attempts are noted.
    seed : int
        Which tasks are hit, and when.
    """

    def __init__(self, executor: Any, folder: str, seed: int) -> None:
        self.executor, self.folder, self.seed = executor, folder, seed

    def run(self, tasks: StageTasks, keys: Sequence[Any], **options: Any) -> list[Failure]:
        """See :class:`mitoscale.cluster.executor.Executor`."""
        function = partial(under_fire, tasks.function, f"{self.folder}/{tasks.stage}", self.seed)
        found: list[Failure] = self.executor.run(replace(tasks, function=function), keys, **options)
        return found


def under_fire(function: Callable[..., BlockResult], prefix: str, seed: int, key: Any) -> BlockResult:
    """Do a task; at its first attempt, maybe, with a shot at its process on the way."""
    mark, chance = Path(f"{prefix}-{key.name}"), random.Random(f"{seed} {prefix} {key.name}")
    if not mark.exists():
        mark.touch()
        if chance.random() < 0.25:
            threading.Timer(chance.uniform(0, 0.2), os.kill, (os.getpid(), signal.SIGKILL)).start()
    return function(key)
