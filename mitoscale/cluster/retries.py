"""A stage's tasks in rounds: what raised is tried again after all others, what killed workers runs alone, the rest is given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mitoscale.cluster.task_outcome import Pool, TaskOutcome
from mitoscale.core.errors import DamagedError, StoppedError
from mitoscale.core.event import Event
from mitoscale.core.result import BlockResult, Key

RETRIES = 2
"""How often a task that raised is tried again, after all others of its stage."""

WAITS = (1.0, 4.0)
"""Seconds before each of these rounds: what is wrong with a disk or a network may pass."""

FAILURES_IN_A_ROW = 100
"""So many tasks that raise one after the other, none returning, are not the blocks' fault: the run stops."""

DEATHS_IN_COMPANY = 2
"""A task that was on this many workers when they died is run alone, so that it is clear which one kills."""

DEATHS_ALONE = 3
"""A task that alone killed this many workers is given up."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A task that was given up."""

    name: str
    """The block's or face's name."""
    error: str
    """What went wrong, one line."""
    traceback: str
    """Where it went wrong."""
    attempts: int = 1
    """How often it was tried."""
    damaged: tuple[str, str] | None = None
    """Stage and name of the earlier task whose result was found missing or broken, where that was the reason."""


class Retries:
    """What became of a stage's tasks so far: given up, raised and to be tried again, suspected of killing workers.

    Parameters
    ----------
    stage : str
        The stage.
    retries : int
        How often a task that raised is tried again, in company or alone.
    on_result : callable
        Called with each result.
    on_event : callable
        Called with each fault.
    """

    def __init__(
        self, stage: str, retries: int, on_result: Callable[[BlockResult], None], on_event: Callable[[Event], None]
    ) -> None:
        self.failures: list[Failure] = []
        """Tasks that were given up."""
        self._stage, self._retries, self._on_result, self._on_event = stage, retries, on_result, on_event
        self._raised: list[Key] = []
        self._suspects: list[Key] = []
        self._attempts: Counter[str] = Counter()
        self._in_a_row = 0

    def take_raised(self) -> list[Key]:
        """The tasks that raised in the last round and are to be tried again."""
        raised, self._raised = self._raised, []
        return raised

    def take_suspects(self) -> list[Key]:
        """The tasks that were there when workers died, and are to run alone."""
        suspects, self._suspects = self._suspects, []
        return suspects

    def run(self, pool: Pool, keys: Iterable[Key]) -> None:
        """One round in company.

        Parameters
        ----------
        pool : Pool
            On a cluster, or threads.
        keys : iterable of Block or Face
            What is to be done.

        Raises
        ------
        StoppedError
            If nearly all tasks raise.
        """
        for outcome in pool.over(keys, deaths=DEATHS_IN_COMPANY):
            if _lost(outcome):
                self._suspects.append(outcome.key)
                detail = f"{DEATHS_IN_COMPANY} workers died while they held it; it will run alone"
                self._on_event(Event(kind="taken back", stage=self._stage, task=outcome.key.name, detail=detail))
            else:
                self._settle(outcome)

    def run_alone(self, pool: Pool, key: Key) -> None:
        """A suspect by itself.

        Parameters
        ----------
        pool : Pool
            Must have no other task in flight.
        key : Key
            A task during which a worker died.
        """
        for outcome in pool.over([key], deaths=DEATHS_ALONE, alone=True):
            if _lost(outcome):
                self.failures.append(_killer(key))
            else:
                self._settle(outcome)

    def _settle(self, outcome: TaskOutcome) -> None:
        key = outcome.key
        if outcome.error is None:
            assert outcome.result is not None
            self._in_a_row = 0
            if key.name in self._attempts:
                self._on_event(Event(kind="healed", stage=self._stage, task=key.name, attempt=self._attempts[key.name] + 1))
            self._on_result(outcome.result)
            return
        self._attempts[key.name] += 1
        failure = failure_of(key, outcome.error, outcome.traceback, attempts=self._attempts[key.name])
        self._on_event(raised(self._stage, failure))
        self._in_a_row += 1
        if self._in_a_row >= FAILURES_IN_A_ROW:
            raise StoppedError(
                f"{self._stage}: {self._in_a_row} tasks in a row failed, the last with {failure.error}; "
                "repair what they have in common, then start the same command again"
            )
        if failure.attempts > self._retries or failure.damaged:
            self.failures.append(failure)
        else:
            self._raised.append(key)


def pauses(retries: int, waits: Sequence[float]) -> list[float]:
    """Seconds before each further round of tasks that raised.

    Parameters
    ----------
    retries : int
        Number of these rounds.
    waits : sequence of float
        Seconds before each; the last counts for all further ones.

    Examples
    --------
    >>> pauses(3, (1.0, 4.0))
    [1.0, 4.0, 4.0]
    """
    return [waits[min(number, len(waits) - 1)] for number in range(retries)]


def raised(stage: str, failure: Failure) -> Event:
    """The event that tells of a task that raised.

    Parameters
    ----------
    stage : str
        Name of the stage.
    failure : Failure
        What was raised, and by which task.
    """
    return Event(kind="raised", stage=stage, task=failure.name, attempt=failure.attempts, detail=failure.error)


def _lost(outcome: TaskOutcome) -> bool:
    """Whether workers died under the task too often, by our count or, where a report went astray, by Dask's."""
    return outcome.result is None and (outcome.error is None or type(outcome.error).__name__ == "KilledWorker")


def _killer(key: Key) -> Failure:
    error = (
        f"its worker died each of {DEATHS_ALONE} times that it ran alone: out of memory? "
        "choose smaller blocks with --block, or give workers more memory in cluster.yaml"
    )
    return Failure(name=key.name, error=error, traceback=error, attempts=DEATHS_IN_COMPANY + DEATHS_ALONE)


def failure_of(key: Key, error: BaseException, trace: str, *, attempts: int) -> Failure:
    """What is kept of a task that raised.

    Parameters
    ----------
    key : Block or Face
        What it worked on.
    error : BaseException
        What it raised.
    trace : str
        Where.
    attempts : int
        How often it was tried.
    """
    damaged = (error.stage, error.task) if isinstance(error, DamagedError) else None
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return Failure(name=key.name, error=line, traceback=trace, attempts=attempts, damaged=damaged)
