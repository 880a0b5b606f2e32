"""A run folder: its plan, and how it is started, loaded, locked and cleaned."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.option_names import spelled
from mitoscale.core.plan import RunPlan, pyramid_factors
from mitoscale.core.settings import STAGES, RunSettings
from mitoscale.core.utf8_names import check_encoding
from mitoscale.core.volume import VolumeSpec
from mitoscale.nets.model_check import check_detector, check_segmenter
from mitoscale.stages.label_owner import check_owner
from mitoscale.stages.source import Source
from mitoscale.stages.stage import Stage
from mitoscale.storage.addresses import PROBE, absolute, is_remote, join, name_of
from mitoscale.storage.exclusive import exclusively, files_of
from mitoscale.storage.layout import RunFolder, free_bytes
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.run_json import read_plan, write_plan
from mitoscale.storage.run_places import check_place
from mitoscale.storage.stored_files import is_file, is_folder, names_at

LOCK = ".lock"
"""File in a run folder that is held by whoever works on it."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder with its plan."""

    plan: RunPlan
    """The plan."""

    def stage(self, name: str, lost: Mapping[str, frozenset[str]] | None = None) -> Stage:
        """The stage of this name, ready to be sent to workers.

        Parameters
        ----------
        name : str
            One of ``STAGES``.
        lost : mapping, optional
            For each earlier stage the tasks that were given up.
        """
        lost = lost or {}
        # Each brings its own libraries: only those of the stages that run are imported.
        if name == "convert":
            from mitoscale.stages.convert import Convert

            return Convert(plan=self.plan)
        if name == "stitch":
            from mitoscale.stages.stitch import Stitch

            return Stitch(plan=self.plan, lost=lost)
        if name == "relabel":
            from mitoscale.stages.relabel import Relabel

            return Relabel(plan=self.plan, lost=lost)
        from mitoscale.stages.grey_statistics import read_grey

        stage: Stage = self._with_grey(name)(plan=self.plan, lost=lost, grey=read_grey(self.plan))
        return stage

    @staticmethod
    def _with_grey(name: str) -> Any:
        """Class of a stage that needs to know the volume's grey values."""
        if name == "detect":
            from mitoscale.stages.detect import Detect

            return Detect
        if name == "segment":
            from mitoscale.stages.segment import Segment

            return Segment
        if name == "measure":
            from mitoscale.stages.measure import Measure

            return Measure
        from mitoscale.report.build import Report

        return Report


def make_plan(source: Source, run: str, settings: RunSettings) -> RunPlan:
    """The plan for a source and settings.

    Parameters
    ----------
    source : Source
        The volume.
    run : str
        Folder of the run, or its address in an object store.
    settings : RunSettings
        Its settings.
    """
    core = settings.convert.core
    factors = pyramid_factors(source.shape, source.spacing, core)
    spec = VolumeSpec(
        shape=source.shape,
        dtype=source.dtype,
        spacing=source.spacing,
        origin=source.origin,
        chunks=settings.convert.chunks,
        shards=core,
        factors=factors,
    )
    folder = RunFolder(absolute(run))
    labels = folder.labels
    if settings.relabel.into_source:
        if source.level0 is None:
            raise InputError("--labels-into-source needs a source that is an OME-Zarr")
        if Path(source.path, ".zgroup").exists():
            raise InputError(f"{source.path} is Zarr v2: labels cannot be added to it; leave out --labels-into-source")
        labels = str(Path(source.path, "labels", name_of(folder.labels)))
    image = source.level0 or f"{folder.volume}/0"
    return RunPlan(run=folder.path, image=image, labels=labels, owner=secrets.token_hex(8), spec=spec, settings=settings)


def start(plan: RunPlan, redo: str | None = None) -> Run:
    """Make a run folder, or go on with one.

    Parameters
    ----------
    plan : RunPlan
        The run.
    redo : str, optional
        Stage that is done again, with all after it.

    Raises
    ------
    InputError
        If the folder cannot be written, holds another volume, or other settings that ``redo`` does not cover; it is left as it was.
    """
    check_start(plan, redo)
    folder, older = RunFolder(plan.run), redo == "convert"
    if not is_file(folder.run_json):
        _make_folder(folder.path)
    with locked(folder.path):  # nobody changes it between this comparison and the writing
        if is_file(folder.run_json):
            old = read_plan(folder, older=older)
            _check_same(old, plan, redo)
            plan = plan.model_copy(update={"owner": old.owner})
            cleaned = bool(Ledger(folder.ledger("detect")).version()) and not folder.has_work()
            if cleaned and redo and redo != "convert":
                raise InputError(f"--redo {redo}: the working files of {plan.run} were cleaned; use --redo convert")
        write_plan(folder, plan)
    return Run(plan=plan)


def check_start(plan: RunPlan, redo: str | None = None) -> None:
    """Raise where a run cannot begin or go on; nothing is made.

    Parameters
    ----------
    plan : RunPlan
        The run.
    redo : str, optional
        Stage that would be done again, with all after it.

    Raises
    ------
    InputError
        As :func:`start`.
    """
    folder = RunFolder(plan.run)
    check_encoding(plan.run, plan.image, plan.labels, plan.settings.convert.source)
    # Wrong weights or factories are told before anything is made.
    check_detector(plan.settings.detect, plan.spec.spacing)
    check_segmenter(plan.settings.segment, plan.spec.spacing)
    check_place(plan.run)
    if is_file(folder.run_json):
        _check_same(
            read_plan(folder, older=redo == "convert"), plan, redo
        )  # before the lock: wrong input leaves the folder as it was
    else:
        _check_new(plan)


def _make_folder(path: str) -> None:
    if is_remote(path):
        return  # a store has none
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot make {path}: {error.strerror}; free or repair the disk, then repeat the command") from error


def _check_new(plan: RunPlan) -> None:
    """Raise unless a run can begin in its folder."""
    if set(names_at(plan.run)) - {*files_of(LOCK), PROBE}:
        raise InputError(f"RUN {plan.run} holds other files and no run.json; give a new or empty folder")
    if is_folder(plan.labels):
        raise InputError(f"{plan.labels} holds labels already; rename them, or leave out --labels-into-source")
    plan.validate_plan(free_bytes(plan.run))


def load(run: str) -> Run:
    """The run in a folder, or at an address of an object store.

    Raises
    ------
    InputError
        If there is none, or it comes from another version.
    """
    return Run(plan=read_plan(RunFolder(absolute(run))))


def load_local(run: str, what: str) -> Run:
    """The run in a folder on a disk.

    Parameters
    ----------
    run : str
        The folder.
    what : str
        What it is wanted for, such as ``mitoscale view``.

    Raises
    ------
    InputError
        As :func:`load`, or if it lies in an object store.
    """
    if is_remote(run):
        raise InputError(f"{what} needs a run on a disk; copy {run} to a folder first (aws s3 cp --recursive {run} RUN)")
    return load(run)


def _check_same(old: RunPlan, new: RunPlan, redo: str | None) -> None:
    """Raise where other settings are wanted than those that work was done with."""
    folder = RunFolder(new.run)
    check_owner(old)
    a, b = old.settings.convert, new.settings.convert
    if a.fingerprint != b.fingerprint:
        raise InputError(f"RUN {new.run} holds another volume ({a.source}); give another RUN for {b.source}")
    begun = [i for i, stage in enumerate(STAGES) if Ledger(folder.ledger(stage)).version()]
    first_free = max(begun, default=-1) + 1
    allowed = STAGES[min(STAGES.index(redo), first_free) if redo else first_free :]
    for stage in STAGES:
        was, now = (getattr(p.settings, stage).model_dump() for p in (old, new))
        changed = [name for name in was if was[name] != now[name] and name != "source"]
        if changed and stage not in allowed:
            name = changed[0]
            raise InputError(
                f"RUN {new.run} was made with other settings: {spelled(stage, name, was[name])} there, "
                f"{spelled(stage, name, now[name])} here; add --redo {stage} to mitoscale run, or to mitoscale {stage}, to do it "
                "again from there, or give another RUN"
            )
    if old.settings.threads != new.settings.threads and "detect" not in allowed:
        raise InputError(
            f"RUN {new.run} was made with {old.settings.threads} threads a task, {new.settings.threads} here; "
            "use the same, add --redo detect, or give another RUN"
        )


def locked(path: str) -> AbstractContextManager[None]:
    """Hold the run folder: two processes that write one run would destroy it."""
    return exclusively(join(path, LOCK), f"another mitoscale is working on {path}; wait for it, or stop it")
