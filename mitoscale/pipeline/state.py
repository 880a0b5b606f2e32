"""How a run stands: what its ledgers say is done, given up, or out of date."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mitoscale.core.grid import COARSE
from mitoscale.core.result import Key
from mitoscale.core.settings import STAGES
from mitoscale.pipeline.run import Run
from mitoscale.stages.stage import Stage
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger, LedgerEntry, last_line

FINISHED = "finished"
"""Name of the ledger line that says a stage's ``finish`` is done."""

LOST = "lost"
"""Stands for the checksum of a task that was given up."""


def ledger_of(run: Run, stage: str) -> Ledger:
    """The ledger of a stage.

    Parameters
    ----------
    run : Run
        The run.
    stage : str
        One of ``STAGES``.
    """
    return Ledger(RunFolder(run.plan.run).ledger(stage))


class Record(NamedTuple):
    """What is kept in memory of a task's latest ledger line: there may be millions."""

    state: str
    """As in the ledger."""
    checksum: str
    """Checksum of what the task wrote."""
    inputs: str
    """Digest of what it read."""


@dataclass(frozen=True, kw_only=True)
class StageState:
    """What a stage's ledger says."""

    records: Mapping[str, Record]
    """Each task it knows."""
    counts: Mapping[str, float]
    """Numbers of all tasks that are done, added up."""
    closing: LedgerEntry | None
    """The line that says the stage's end is done; None where it is not, or was begun again since."""

    coarse: Mapping[str, str]
    """Of each shard of a coarser level the digest of what it was made of."""

    @classmethod
    def of(cls, run: Run, stage: str) -> StageState:
        """Read it; what was read last is held until its ledger changes, or another stage is asked for.

        Parameters
        ----------
        run : Run
            The run.
        stage : str
            One of ``STAGES``.
        """
        ledger, token = ledger_of(run, stage), run.plan.settings.token(stage)
        key = (ledger.path, token, *ledger.version())
        found = _held.get(key)
        if found is None:
            _held.clear()  # first: two of them take twice the memory
            found = _held[key] = cls._read(ledger, token)
        return found

    @classmethod
    def _read(cls, ledger: Ledger, token: str) -> StageState:
        records: dict[str, Record] = {}
        counts: Counter[str] = Counter()
        closing, coarse = None, dict[str, str]()
        for entry in ledger.latest(token):
            if entry.name == FINISHED:
                closing = entry if entry.state == "done" else None
                continue
            if entry.name.startswith(COARSE):
                coarse[entry.name] = entry.inputs if entry.state == "done" else ""
                continue
            records[entry.name] = Record(sys.intern(entry.state), entry.checksum, entry.inputs)
            if entry.state == "done":
                counts.update(entry.counts)
        return cls(records=records, counts=dict(counts), closing=closing, coarse=coarse)

    @property
    def done(self) -> set[str]:
        """Tasks that are done, though what they read may have changed since."""
        return {name for name, record in self.records.items() if record.state == "done"}

    @property
    def quarantined(self) -> list[str]:
        """Tasks that were given up."""
        return sorted(name for name, record in self.records.items() if record.state == "quarantined")


_held: dict[tuple[object, ...], StageState] = {}
"""The state that was read last: several functions ask for it one after the other."""


class Inputs:
    """The digests of what a stage's tasks read.

    Parameters
    ----------
    stage : Stage
        The stage.
    sums : mapping
        For each of the stage's sources: task -> checksum; a task that was given up is missing.
    prepared : mapping
        What ``stage.prepare`` returned.
    """

    def __init__(self, stage: Stage, sums: Mapping[str, Mapping[str, str]], prepared: Mapping[str, str]) -> None:
        self._stage, self._sums, self._prepared = stage, sums, prepared
        self._stamp = stage.stamp()

    def of(self, key: Key) -> str:
        """Digest of what a task reads, 16 hex digits."""
        read = [self._sums[stage].get(task, LOST) for stage, task in self._stage.reads(key)]
        return digest([self._stamp, self._prepared.get(key.name, ""), *read])


class Results(NamedTuple):
    """What a stage has to offer to later ones."""

    sums: dict[str, str]
    """Checksum of each task that is done."""
    lost: frozenset[str]
    """Tasks that were given up."""


def results(run: Run, stage: str) -> Results:
    """Read a stage's results from its ledger.

    Parameters
    ----------
    run : Run
        The run.
    stage : str
        One of ``STAGES``.
    """
    sums: dict[str, str] = {}
    lost: set[str] = set()
    for entry in ledger_of(run, stage).lines(run.plan.settings.token(stage)):
        sums.pop(entry.name, None)
        lost.discard(entry.name)
        if entry.state == "done":
            sums[entry.name] = entry.checksum
        elif entry.state == "quarantined":
            lost.add(entry.name)
    sums.pop(FINISHED, None)
    return Results(sums, frozenset(lost))


def closing_sum(records: Mapping[str, Record]) -> str:
    """Digest of everything a stage has done: what later stages as a whole depend on."""
    return digest(f"{name} {records[name].state} {records[name].checksum}" for name in sorted(records))


def inputs_digest(run: Run, stage: str) -> str | None:
    """Digest of all that earlier stages have done; None where one of them is not finished.

    Parameters
    ----------
    run : Run
        The run.
    stage : str
        One of ``STAGES``.
    """
    sums: list[str] = []
    for earlier in STAGES[: STAGES.index(stage)]:
        closing = closing_of(run, earlier)
        if closing is None or closing.inputs != digest(sums):
            return None
        sums.append(closing.checksum)
    return digest(sums)


def closing_of(run: Run, stage: str) -> LedgerEntry | None:
    """The stage's closing line; None where its end is not done.

    Parameters
    ----------
    run : Run
        The run.
    stage : str
        One of ``STAGES``.
    """
    last = ledger_of(run, stage).last(FINISHED, run.plan.settings.token(stage))
    return last if last is not None and last.state == "done" else None


def finished(run: Run, stage: str) -> bool:
    """Whether a stage is done with the run's settings, from what earlier stages have written by now.

    Parameters
    ----------
    run : Run
        The run.
    stage : str
        One of ``STAGES``.
    """
    inputs, closing = inputs_digest(run, stage), closing_of(run, stage)
    return inputs is not None and closing is not None and closing.inputs == inputs


def begun(run: Run) -> list[str]:
    """The stages up to the last one that was ever finished."""
    ended = [i for i, name in enumerate(STAGES) if ledger_of(run, name).last(FINISHED, run.plan.settings.token(name))]
    return list(STAGES[: max(ended, default=-1) + 1])


def quarantined(run: Run, known: Mapping[str, Iterable[str]] | None = None) -> dict[str, list[str]]:
    """The tasks that were given up and not healed since, for each stage that has some.

    Parameters
    ----------
    run : Run
        The run.
    known : mapping, optional
        Those of stages that have just been run, whose ledgers need not be read.
    """
    known = known or {}
    found = {stage: sorted(known[stage]) if stage in known else StageState.of(run, stage).quarantined for stage in STAGES}
    return {stage: names for stage, names in found.items() if names}


def why_given_up(run: Run, stage: str, task: str) -> str:
    """The last line of what a task raised that was given up.

    Parameters
    ----------
    run : Run
        The run.
    stage : str
        One of ``STAGES``.
    task : str
        A task that was given up.
    """
    entry = ledger_of(run, stage).last(task, run.plan.settings.token(stage))
    return last_line(entry.error) if entry else ""


def digest(parts: Iterable[str]) -> str:
    """Of a sequence of texts, 16 hex digits.

    Examples
    --------
    >>> digest(["a", "b"]) == digest(["ab"])
    False
    """
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        state.update(part.encode())
        state.update(b"\0")
    return state.hexdigest()
