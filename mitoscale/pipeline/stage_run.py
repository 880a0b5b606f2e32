"""One stage of a run: which of its tasks are to be done, doing them, and its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.executor import Executor
from mitoscale.cluster.retries import Failure
from mitoscale.core.errors import DamagedError, StoppedError
from mitoscale.core.event import Event
from mitoscale.core.grid import block_name
from mitoscale.core.result import BlockResult, Key
from mitoscale.pipeline.missing_outputs import missing_files
from mitoscale.pipeline.observer import Observer, StageOutcome
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.state import FINISHED, LOST, Inputs, StageState, closing_sum, digest, inputs_digest, ledger_of, results
from mitoscale.stages.current_settings import count_start
from mitoscale.stages.pyramid import coarse_shards, spanned
from mitoscale.stages.stage import Stage
from mitoscale.storage.events import EventLog
from mitoscale.storage.ledger import LedgerEntry


class StageRun:
    """A stage that is being run.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        The stage; all stages before it are finished.
    executor : Executor
        Where its tasks run.
    observer : Observer
        Hears of progress.
    events : EventLog
        Gets each fault.
    """

    def __init__(self, run: Run, name: str, executor: Executor, observer: Observer, events: EventLog) -> None:
        self.run, self.name = run, name
        self.executor, self.observer, self.events = executor, observer, events
        self.token = run.plan.settings.token(name)
        self.ledger = ledger_of(run, name)
        self.state = StageState.of(run, name)
        self._began = time.monotonic()
        self._reading: dict[str, str] = {}
        self._attempts: Counter[str] = Counter()

    def execute(self) -> StageOutcome:
        """Do what is to be done."""
        closing = self._current()
        if closing is not None:
            outcome = StageOutcome(name=self.name, tasks=len(self.state.records), computed=0, numbers=closing.counts)
            self.observer.stage_started(self.name, outcome.tasks, self.state.records)
        else:
            try:
                outcome = self._work()
            finally:
                self.ledger.close()
        self.observer.stage_finished(outcome)
        return outcome

    def _current(self) -> LedgerEntry | None:
        """The closing line, where nothing is left to do and nothing has changed since."""
        closing, records = self.state.closing, self.state.records
        if (
            closing is None
            or self.state.quarantined
            or missing_files(self.run, self.name)
            or closing.inputs != inputs_digest(self.run, self.name)
        ):
            return None
        return closing if closing.checksum == closing_sum(records) else None

    def _work(self) -> StageOutcome:
        self.events.append(Event(kind="started", stage=self.name))
        if self.state.closing is not None:
            self.ledger.append(BlockResult(name=FINISHED), token=self.token, state="open")
        stage = self.run.stage(self.name)
        made = {source: results(self.run, source) for source in stage.sources}
        lost = {source: r.lost for source, r in made.items()}
        stage = stage.model_copy(update={"lost": lost, "start": count_start(self.run.plan)})
        try:
            prepared = stage.prepare(fresh=not self.state.done)
        except DamagedError as error:
            return self._broken_off(stage, 0, [error])
        inputs = Inputs(stage, {source: r.sums for source, r in made.items()}, prepared)
        current = self._up_to_date(stage, inputs)
        total = stage.count()
        self.observer.stage_started(self.name, total, current)
        failures: list[Failure] = []
        if len(current) < total:
            todo = self._todo(stage, inputs, current)
            failures = self.executor.run(
                StageTasks(self.name, stage.process, stage.group), todo, on_result=self._keep, on_event=self._hear
            )
        failed = len(failures)
        self._coarsen(stage)
        failures += self._gather(stage)
        self._give_up([f for f in failures if f.damaged is None])
        computed = total - len(current) - failed
        damaged = [DamagedError(*f.damaged, f.error) for f in failures if f.damaged is not None]
        return self._broken_off(stage, computed, damaged) if damaged else self._finish(stage, computed)

    def _coarsen(self, stage: Stage) -> None:
        """Make the coarser levels of what the tasks have written, where that is not what they were made of."""
        if not stage.coarse_levels():
            return
        sums, made = results(self.run, self.name).sums, self.state.coarse
        tasks = stage.plan.convert_grid if self.name == "convert" else stage.plan.grid
        for level in stage.coarse_levels():
            inputs: dict[str, str] = {}
            stale = []
            for key in coarse_shards(stage.plan, level):
                beneath = {index: sums.get(block_name(index), LOST) for index in tasks.meeting(spanned(stage.plan, key))}
                inputs[key.name] = digest(beneath.values())
                if made.get(key.name) != inputs[key.name]:
                    empty = all(stage.wrote_zeros(tasks.block(index), told) for index, told in beneath.items())
                    stale.append(key.model_copy(update={"empty": empty}))

            def keep(result: BlockResult, inputs: dict[str, str] = inputs) -> None:
                self.ledger.append(result, token=self.token, inputs=inputs[result.name])

            failures = stale and self.executor.run(
                StageTasks(self.name, stage.coarsen, "io"), stale, on_result=keep, on_event=self._hear
            )
            if failures:
                raise StoppedError(f"{self.name} {failures[0].name} fails ({failures[0].error}); start the same command again")

    def _gather(self, stage: Stage) -> list[Failure]:
        """Bring the tables of tasks together; those of a super-block that cannot be stay where they are."""
        corners = list(stage.to_gather())
        if not corners:
            return []
        failures = self.executor.run(
            StageTasks(self.name, stage.gather, "io"), corners, on_result=lambda result: None, on_event=self._hear
        )
        return [f for f in failures if f.damaged is not None]

    def _up_to_date(self, stage: Stage, inputs: Inputs) -> set[str]:
        """Tasks that are done and whose inputs are what they were."""
        records = self.state.records
        if not self.state.done:
            return set()
        current = set()
        for key in stage.keys():  # noqa: SIM118 - a method
            record = records.get(key.name)
            if record is not None and record.state == "done" and record.inputs == inputs.of(key):
                current.add(key.name)
        return current

    def _todo(self, stage: Stage, inputs: Inputs, current: set[str]) -> Iterator[Key]:
        for key in stage.keys():  # noqa: SIM118 - a method
            if key.name not in current:
                self._reading[key.name] = inputs.of(key)
                yield key

    def _keep(self, result: BlockResult) -> None:
        earlier = self.state.records.get(result.name)
        attempt = self._attempts[result.name] + 1
        if earlier is not None and earlier.state != "done":
            self._hear(Event(kind="healed", stage=self.name, task=result.name, attempt=attempt, detail=f"was {earlier.state}"))
        self.ledger.append(result, token=self.token, attempt=attempt, inputs=self._reading.pop(result.name))
        self.observer.task_done(self.name, result.name, result.counts.get("voxels", 0.0))

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self.observer.happened(event)
        if event.kind == "raised":
            self._attempts[event.task] += 1

    def _give_up(self, failures: list[Failure]) -> None:
        for f in failures:
            self._hear(Event(kind="quarantined", stage=self.name, task=f.name, attempt=f.attempts, detail=f.error))
            result = BlockResult(name=f.name)
            self.ledger.append(result, token=self.token, state="quarantined", error=f.traceback, attempt=f.attempts)

    def _finish(self, stage: Stage, computed: int) -> StageOutcome:
        del self.state  # there may be millions of records: one set is enough
        after = StageState.of(self.run, self.name)
        try:
            numbers = stage.finish(after.done, after.counts)
        except DamagedError as error:
            return self._broken_off(stage, computed, [error])
        seconds = time.monotonic() - self._began
        self.ledger.append(
            BlockResult(name=FINISHED, checksum=closing_sum(after.records), counts=numbers, seconds={"wall": seconds}),
            token=self.token,
            inputs=inputs_digest(self.run, self.name) or "",
        )
        lost = tuple(after.quarantined)
        self.events.append(Event(kind="ended", stage=self.name, detail=f"{len(lost)} quarantined" if lost else ""))
        return StageOutcome(
            name=self.name, tasks=stage.count(), computed=computed, quarantined=lost, seconds=seconds, numbers=numbers
        )

    def _broken_off(self, stage: Stage, computed: int, errors: list[DamagedError]) -> StageOutcome:
        return StageOutcome(
            name=self.name,
            tasks=stage.count(),
            computed=computed,
            damaged={(e.stage, e.task): e.reason for e in errors},
            seconds=time.monotonic() - self._began,
        )
