"""A run folder: its plan, and how it is started, loaded, locked and cleaned."""

from __future__ import annotations

import os
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
from mitoscale.storage.exclusive import exclusively, files_of
from mitoscale.storage.layout import RunFolder, check_writable, free_bytes
from mitoscale.storage.run_json import read_plan, write_plan

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
        Folder of the run.
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
    folder = RunFolder(os.path.abspath(run))
    labels = folder.labels
    if settings.relabel.into_source:
        if source.level0 is None:
            raise InputError("--labels-into-source needs a source that is an OME-Zarr")
        if Path(source.path, ".zgroup").exists():
            raise InputError(f"{source.path} is Zarr v2: labels cannot be added to it; leave out --labels-into-source")
        labels = str(Path(source.path, "labels", Path(folder.labels).name))
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
    folder, older = RunFolder(plan.run), redo == "convert"
    check_encoding(plan.run, plan.image, plan.labels, plan.settings.convert.source)
    # Wrong weights or factories are told before anything is made.
    check_detector(plan.settings.detect, plan.spec.spacing)
    check_segmenter(plan.settings.segment, plan.spec.spacing)
    check_writable(plan.run)
    if Path(folder.run_json).exists():
        _check_same(read_plan(folder, older=older), plan, redo)  # before the lock: wrong input leaves the folder as it was
    else:
        _check_new(plan)
        _make_folder(folder.path)
    with locked(folder.path):  # nobody changes it between this comparison and the writing
        if Path(folder.run_json).exists():
            old = read_plan(folder, older=older)
            _check_same(old, plan, redo)
            plan = plan.model_copy(update={"owner": old.owner})
            cleaned = Path(folder.ledger("detect")).exists() and not Path(folder.work).is_dir()
            if cleaned and redo and redo != "convert":
                raise InputError(f"--redo {redo}: the working files of {plan.run} were cleaned; use --redo convert")
        write_plan(folder, plan)
    return Run(plan=plan)


def _make_folder(path: str) -> None:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoppedError(f"cannot make {path}: {error.strerror}; free or repair the disk, then repeat the command") from error


def _check_new(plan: RunPlan) -> None:
    """Raise unless a run can begin in its folder."""
    if Path(plan.run).is_dir() and any(entry.name not in files_of(Path(LOCK)) for entry in Path(plan.run).iterdir()):
        raise InputError(f"RUN {plan.run} holds other files and no run.json; give a new or empty folder")
    if Path(plan.labels).exists():
        raise InputError(f"{plan.labels} holds labels already; rename them, or leave out --labels-into-source")
    plan.validate_plan(free_bytes(plan.run))


def load(run: str) -> Run:
    """The run in a folder.

    Raises
    ------
    InputError
        If there is none, or it comes from another version.
    """
    return Run(plan=read_plan(RunFolder(os.path.abspath(run))))


def _check_same(old: RunPlan, new: RunPlan, redo: str | None) -> None:
    """Raise where other settings are wanted than those that work was done with."""
    folder = RunFolder(new.run)
    check_owner(old)
    a, b = old.settings.convert, new.settings.convert
    if a.fingerprint != b.fingerprint:
        raise InputError(f"RUN {new.run} holds another volume ({a.source}); give another RUN for {b.source}")
    begun = [i for i, stage in enumerate(STAGES) if Path(folder.ledger(stage)).exists()]
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
    return exclusively(Path(path, LOCK), f"another mitoscale is working on {path}; wait for it, or stop it")
