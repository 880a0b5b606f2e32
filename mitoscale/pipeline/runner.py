"""The stages of a run, one after the other: what is missing or out of date is done, what is current stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mitoscale.cluster.executor import Executor
from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.event import Event
from mitoscale.core.result import BlockResult
from mitoscale.core.settings import STAGES
from mitoscale.pipeline.missing_outputs import cleaned, missing_files, missing_shards, missing_tables, vanished
from mitoscale.pipeline.observer import Observer, StageOutcome
from mitoscale.pipeline.run import Run, load, locked
from mitoscale.pipeline.stage_run import StageRun
from mitoscale.pipeline.state import FINISHED, finished, ledger_of
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder

DAMAGES = 3
"""A task whose result is found missing or broken this often, though it was done again each time, stops the run."""


def execute(run: Run, names: Sequence[str], executor: Executor, observer: Observer, redo: str | None = None) -> list[StageOutcome]:
    """Run stages in order.

    Where a task finds that what an earlier task wrote is missing or broken, that one is done again first; so is what is found
    to be gone though a ledger calls it done.

    Parameters
    ----------
    run : Run
        From :func:`mitoscale.pipeline.start` or :func:`mitoscale.pipeline.load`.
    names : sequence of str
        The stages wanted, in order.
    executor : Executor
        Where tasks run.
    observer : Observer
        Hears of progress.
    redo : str, optional
        This stage and all after it are forgotten first.

    Returns
    -------
    list of StageOutcome
        One for each stage that was run, in order.

    Raises
    ------
    InputError
        If a stage before the first wanted one is not finished, another process works on the run, or has changed its settings.
    StoppedError
        If the run cannot go on for now.
    """
    folder = RunFolder(run.plan.run)
    with locked(folder.path):
        if load(folder.path).plan.settings != run.plan.settings:  # between its start and here nobody held the lock
            raise InputError(f"another command has changed the settings of {folder.path}; start the same command again")
        events = EventLog(folder.events)
        if redo:
            for name in STAGES[STAGES.index(redo) :]:
                ledger_of(run, name).invalidate()
        try:
            return _execute(run, names, executor, observer, events)
        except (KeyboardInterrupt, StoppedError) as error:
            if events.read():  # nothing had begun otherwise
                events.append(Event(kind="stopped", detail=str(error) or "interrupted"))
            raise


def _execute(run: Run, names: Sequence[str], executor: Executor, observer: Observer, events: EventLog) -> list[StageOutcome]:
    outcomes: dict[str, StageOutcome] = {}
    damages: Counter[tuple[str, str]] = Counter()
    todo = list(names)
    while todo:
        name = todo.pop(0)
        gone = vanished(run, name)
        if gone:
            for stage, path in gone.items():
                _note(damages, stage, "", f"{path} is gone")
                _hear(Event(kind="damaged", stage=stage, detail=f"{path} is gone"), events, observer)
                ledger_of(run, stage).invalidate()
            first = min(map(STAGES.index, gone))
            todo = [*STAGES[first : STAGES.index(name) + 1], *todo]
            continue
        check_ready(run, name)
        _check_can_be_made(run, name)
        lost = {(name, task): "a shard of it is gone" for task in missing_shards(run, name)}
        lost.update({(name, task): "its tables are gone" for task in missing_tables(run, name)})
        _forget(run, lost, damages, events, observer)
        outcome = StageRun(run, name, executor, observer, events).execute()
        if outcome.damaged:
            _forget(run, outcome.damaged, damages, events, observer)
            first = min(STAGES.index(stage) for stage, _ in outcome.damaged)
            todo = [*STAGES[first : STAGES.index(name) + 1], *todo]
        earlier = outcomes.get(name)
        computed = outcome.computed + (earlier.computed if earlier else 0)
        outcomes[name] = replace(outcome, computed=computed)
    return [outcomes[name] for name in STAGES if name in outcomes]


def check_ready(run: Run, name: str) -> None:
    """Raise InputError where a stage before this one is not finished.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        Stage that is to run.
    """
    for earlier in STAGES[: STAGES.index(name)]:
        if not finished(run, earlier):
            raise InputError(f"{name}: {earlier} is not done in {run.plan.run}; run mitoscale {earlier} first")


def _check_can_be_made(run: Run, name: str) -> None:
    """Raise InputError where a file is gone that was made from working files, which are cleaned."""
    gone = missing_files(run, name) if cleaned(run) else []
    if gone:
        raise InputError(f"{gone[0]} is gone, and so are the working files it was made from; add --redo convert to do all again")


def _note(damages: Counter[tuple[str, str]], stage: str, task: str, reason: str) -> None:
    """Count; raise StoppedError where doing it again does not help."""
    damages[stage, task] += 1
    if damages[stage, task] > DAMAGES:
        raise StoppedError(
            f"{stage} {task or 'itself'} was done {DAMAGES} times and its result is still not there ({reason}); "
            "check the disk, then start the same command again"
        )


def _hear(event: Event, events: EventLog, observer: Observer) -> None:
    events.append(event)
    observer.happened(event)


def _forget(
    run: Run, damaged: Mapping[tuple[str, str], str], damages: Counter[tuple[str, str]], events: EventLog, observer: Observer
) -> None:
    """Note that the results of tasks are no good."""
    for (stage, task), reason in damaged.items():
        _note(damages, stage, task, reason)
        _hear(Event(kind="damaged", stage=stage, task=task, detail=reason.splitlines()[0]), events, observer)
        ledger, token = ledger_of(run, stage), run.plan.settings.token(stage)
        if task:  # else what the stage makes at its beginning or end: it is begun and ended again, its tasks stay
            ledger.append(BlockResult(name=task), token=token, state="damaged", error=reason)
        ledger.append(BlockResult(name=FINISHED), token=token, state="open")
        ledger.close()
