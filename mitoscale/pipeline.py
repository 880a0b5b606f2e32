"""The order of the stages: start, resume, redo.

A run folder remembers its plan in run.json and what is done in its ledgers. Starting again does what is missing; other settings are
refused unless ``redo`` names the first stage they concern.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from mitoscale.cluster.executor import Executor
from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan, pyramid_factors
from mitoscale.core.provenance import Provenance
from mitoscale.core.result import BlockResult
from mitoscale.core.settings import STAGES, RunSettings
from mitoscale.core.volume import VolumeSpec
from mitoscale.nets.predictors import make_detector, make_segmenter
from mitoscale.report.build import Report
from mitoscale.stages.convert import Convert
from mitoscale.stages.detect import Detect
from mitoscale.stages.grey import normalisation
from mitoscale.stages.measure import Measure
from mitoscale.stages.relabel import Relabel
from mitoscale.stages.segment import Segment
from mitoscale.stages.source import Source
from mitoscale.stages.stage import Stage
from mitoscale.stages.stitch import Stitch
from mitoscale.storage.layout import RunFolder, check_writable, free_bytes, read_json, remove_tree, write_json
from mitoscale.storage.ledger import Ledger

FORMAT = 1
"""Version of run.json."""

FINISHED = "finished"
"""Name of the ledger line that says a stage's ``finish`` is done."""


class Observer(Protocol):
    """Hears how a run goes on; the command line shows it as progress bars."""

    def stage_started(self, name: str, total: int, done: int) -> None:
        """A stage begins with ``done`` of ``total`` tasks done earlier."""

    def task_done(self, name: str, voxels: float) -> None:
        """A task has returned."""

    def stage_finished(self, outcome: StageOutcome) -> None:
        """A stage is done."""


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """How a stage ended."""

    name: str
    """The stage."""
    tasks: int
    """All its tasks."""
    computed: int
    """Tasks done now; the others were done earlier."""
    quarantined: tuple[str, ...] = ()
    """Blocks given up after several failures."""
    seconds: float = 0.0
    """Wall time now."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the stage counted."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder with its plan."""

    plan: RunPlan
    """The plan."""
    value_range: tuple[float, float] | None
    """Least and largest grey value of a float volume."""

    def stage(self, name: str) -> Stage:
        """The stage of this name, ready to be sent to workers."""
        if name == "convert":
            return Convert(plan=self.plan, value_range=self.value_range)
        simple: dict[str, type[Stage]] = {"stitch": Stitch, "relabel": Relabel, "measure": Measure}
        if name in simple:
            return simple[name](plan=self.plan)
        norm = normalisation(self.plan, self.value_range)
        kinds: dict[str, Any] = {"detect": Detect, "segment": Segment, "report": Report}
        stage: Stage = kinds[name](plan=self.plan, normalisation=norm)
        return stage


def make_plan(source: Source, run: str, settings: RunSettings, labels_into_source: bool = False) -> RunPlan:
    """The plan for a source and settings."""
    core = settings.convert.core
    factors = pyramid_factors(source.shape, source.spacing, core)
    spec = VolumeSpec(
        shape=source.shape,
        dtype=source.dtype,
        spacing=source.spacing,
        chunks=settings.convert.chunks,
        shards=core,
        factors=factors,
    )
    folder = RunFolder(os.path.abspath(run))
    labels = folder.labels
    if labels_into_source:
        if source.level0 is None:
            raise InputError("--labels-into-source needs a source that is an OME-Zarr")
        if Path(source.path, ".zgroup").exists():
            raise InputError(f"{source.path} is Zarr v2: labels cannot be added to it; leave out --labels-into-source")
        labels = str(Path(source.path, "labels", Path(folder.labels).name))
    image = source.level0 or f"{folder.volume}/0"
    return RunPlan(run=folder.path, image=image, labels=labels, spec=spec, settings=settings)


def start(plan: RunPlan, value_range: tuple[float, float] | None, redo: str | None = None) -> Run:
    """Make a run folder, or go on with one.

    Raises
    ------
    InputError
        If the folder cannot be written, holds another volume, or other settings that ``redo`` does not cover; it is left as it was.
    """
    folder = RunFolder(plan.run)
    # Wrong weights or factories are told before anything is made.
    make_detector(plan.settings.detect, plan.spec.spacing)
    make_segmenter(plan.settings.segment, plan.spec.spacing)
    check_writable(plan.run)
    content = {
        "format": FORMAT,
        "plan": plan.model_dump(mode="json"),
        "value_range": value_range,
        "provenance": Provenance.of(plan.settings).model_dump(mode="json"),
    }
    if Path(folder.run_json).exists():
        _check_same(load(plan.run).plan, plan, redo)
        with _locked(folder.path):
            if redo and redo != "convert" and not Path(folder.work).is_dir():
                raise InputError(f"--redo {redo}: the working files of {plan.run} were cleaned; use --redo convert")
            write_json(folder.run_json, content)
    else:
        _check_new(plan)
        write_json(folder.run_json, content)
    return Run(plan=plan, value_range=value_range)


def _check_new(plan: RunPlan) -> None:
    """Raise unless a run can begin in its folder."""
    if Path(plan.run).is_dir() and any(Path(plan.run).iterdir()):
        raise InputError(f"RUN {plan.run} holds other files and no run.json; give a new or empty folder")
    if Path(plan.labels).exists():
        raise InputError(f"{plan.labels} holds labels already; rename them, or leave out --labels-into-source")
    plan.validate_plan(free_bytes(plan.run))


def load(run: str) -> Run:
    """The run in a folder.

    Raises
    ------
    InputError
        If there is none, or it comes from a newer version.
    """
    folder = RunFolder(os.path.abspath(run))
    if not Path(folder.run_json).exists():
        raise InputError(f"{run} is no run folder: it has no run.json; start one with mitoscale run or convert")
    content = read_json(folder.run_json)
    if content.get("format", 0) > FORMAT:
        raise InputError(f"{folder.run_json} has format {content['format']}, this version reads {FORMAT}: update mitoscale")
    try:
        plan = RunPlan.model_validate(content["plan"])
    except (KeyError, ValidationError) as error:
        raise InputError(f"{folder.run_json} is damaged ({str(error).splitlines()[0]}): start in a new folder") from error
    value_range = content.get("value_range")
    return Run(plan=plan.moved_to(folder.path), value_range=tuple(value_range) if value_range else None)


def _check_same(old: RunPlan, new: RunPlan, redo: str | None) -> None:
    a, b = old.settings.convert, new.settings.convert
    if a.fingerprint != b.fingerprint:
        raise InputError(f"RUN {new.run} holds another volume ({a.source}); give another RUN for {b.source}")
    allowed = STAGES[STAGES.index(redo) :] if redo else ()
    for stage in STAGES:
        was, now = (getattr(p.settings, stage).model_dump() for p in (old, new))
        changed = [name for name in was if was[name] != now[name] and name != "source"]
        if changed and stage not in allowed:
            name = changed[0]
            raise InputError(
                f"RUN {new.run} was made with other settings: {stage} {name} is {was[name]!r} there, {now[name]!r} here; "
                f"add --redo {stage} to do it again from there, or give another RUN"
            )
    if old.settings.threads != new.settings.threads and redo not in STAGES[:2]:
        raise InputError(
            f"RUN {new.run} was made with {old.settings.threads} threads a task, {new.settings.threads} here; "
            "use the same, add --redo detect, or give another RUN"
        )


def execute(run: Run, names: Sequence[str], executor: Executor, observer: Observer, redo: str | None = None) -> list[StageOutcome]:
    """Run stages in order.

    Parameters
    ----------
    run : Run
        From :func:`start` or :func:`load`.
    names : sequence of str
        The stages wanted, in order.
    executor : Executor
        Where tasks run.
    observer : Observer
        Hears of progress.
    redo : str, optional
        This stage and all after it are forgotten first.

    Raises
    ------
    InputError
        If a stage before the first wanted one is not finished, or another process works on the run.
    """
    folder = RunFolder(run.plan.run)
    with _locked(folder.path):
        if redo:
            for name in STAGES[STAGES.index(redo) :]:
                Ledger(folder.ledger(name)).invalidate()
        outcomes = []
        for name in names:
            _check_before(run, folder, name)
            outcome = _run_stage(run, name, folder, executor, observer)
            if outcome.computed:  # what later stages made of the blocks before is out of date
                for later in STAGES[STAGES.index(name) + 1 :]:
                    Ledger(folder.ledger(later)).invalidate()
            outcomes.append(outcome)
        return outcomes


def finished(run: Run, name: str) -> bool:
    """Whether a stage is done with the run's settings."""
    token = run.plan.settings.token(name)
    return FINISHED in Ledger(RunFolder(run.plan.run).ledger(name)).entries(token)


def _check_before(run: Run, folder: RunFolder, name: str) -> None:
    for earlier in STAGES[: STAGES.index(name)]:
        if not finished(run, earlier):
            raise InputError(f"{name}: {earlier} is not done in {folder.path}; run mitoscale {earlier} first")


def _run_stage(run: Run, name: str, folder: RunFolder, executor: Executor, observer: Observer) -> StageOutcome:
    began = time.monotonic()
    token = run.plan.settings.token(name)
    ledger = Ledger(folder.ledger(name))
    entries = ledger.entries(token)
    closing = entries.pop(FINISHED, None)
    done = {n: e for n, e in entries.items() if e.state == "done"}
    if closing is not None and len(done) == len(entries):
        outcome = StageOutcome(name=name, tasks=len(done), computed=0, numbers=closing.counts)
        observer.stage_started(name, len(done), len(done))
        observer.stage_finished(outcome)
        return outcome
    stage = run.stage(name)
    keys = {key.name: key for key in stage.keys()}  # noqa: SIM118 - a method
    done = {n: e for n, e in done.items() if n in keys}
    todo = [key for n, key in keys.items() if n not in done]
    observer.stage_started(name, len(keys), len(done))
    stage.prepare(fresh=not done)

    def keep(result: BlockResult) -> None:
        ledger.append(result, token=token)
        observer.task_done(name, result.counts.get("voxels", 0.0))

    try:
        failures = executor.run(name, stage.process, todo, on_result=keep, resource=stage.group) if todo else []
        for failure in failures:
            ledger.append(BlockResult(name=failure.name), token=token, state="quarantined", error=failure.traceback)
        entries = {n: e for n, e in ledger.entries(token).items() if n in keys and e.state == "done"}
        numbers = stage.finish(entries)
        seconds = time.monotonic() - began
        ledger.append(BlockResult(name=FINISHED, counts=numbers, seconds={"wall": seconds}), token=token)
    finally:
        ledger.close()
    outcome = StageOutcome(
        name=name,
        tasks=len(keys),
        computed=len(todo) - len(failures),
        quarantined=tuple(f.name for f in failures),
        seconds=seconds,
        numbers=numbers,
    )
    observer.stage_finished(outcome)
    return outcome


def clean(run: Run) -> int:
    """Remove what only later stages need; returns the bytes that became free.

    Raises
    ------
    InputError
        If the run is not finished.
    """
    folder = RunFolder(run.plan.run)
    with _locked(folder.path):
        if not finished(run, "report"):
            raise InputError(f"{run.plan.run} is not finished; what it needs stays")
        freed = sum(f.stat().st_size for f in Path(folder.work).rglob("*") if f.is_file())
        remove_tree(folder.work)
    return freed


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the run folder: two processes that write one run would destroy it."""
    with Path(path, ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another mitoscale is working on {path}; wait for it, or stop it") from None
        yield
