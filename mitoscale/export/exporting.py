"""Exporting a run: all checks first, then one kind writes under a temporary name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mitoscale import pipeline
from mitoscale.core.errors import BlockError, InputError, StoppedError
from mitoscale.core.geometry import Region
from mitoscale.corrections.apply import current_corrections
from mitoscale.export.all_kinds import kind_of
from mitoscale.export.exported import Content
from mitoscale.export.kind import Kind
from mitoscale.export.renumber import labels_of
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.atomic import remove_left_over, replacing
from mitoscale.storage.exclusive import exclusively
from mitoscale.storage.layout import RunFolder, check_new, check_writable
from mitoscale.storage.stored_files import is_file
from mitoscale.storage.tables import write_csv

_TABLES = {
    "objects": ("objects", "measure"),
    "detections": ("detections", "detect"),
    "edges": ("edges_table", "stitch"),
    "cells": ("cells", "measure"),
}
"""Each table's name in the run folder, and the stage that writes it."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user wants."""

    run: str
    """Run folder."""
    target: str
    """The file or folder to make."""
    kind: str | None = None
    """Name of its kind; None: its ending tells it."""
    region: str | None = None
    """Part of the volume, ``Z0:Z1,Y0:Y1,X0:X1`` in level-0 voxels; None: all."""
    level: int = 0
    """The finest level that is written."""
    table: str | None = None
    """Which table a table's file gets; None: that of objects."""
    edits: bool = False
    """Whether corrections are in it."""
    renumber: bool = False
    """Whether labels are numbered anew from 1 on."""

    @property
    def names(self) -> str:
        """The table of old and new numbers."""
        return f"{self.target.rstrip('/')}.labels.csv"


def export_run(request: Request) -> None:
    """Write what of a run was asked for; on any error nothing is left behind.

    Raises
    ------
    InputError
        If the target is there already, lies in the run or cannot be written, the run is not finished or lacks what is asked for,
        or the kind cannot hold it.
    StoppedError
        If the disk is full.
    """
    there = pipeline.load(request.run)
    _check_target(request, there.plan.run)
    kind = kind_of(request.target, request.kind)
    if request.renumber:
        if not kind.renumbers:
            raise InputError(f"--renumber is for kinds of few bits (TIFF, MRC); {kind.name} keeps the labels of the run")
        check_new(request.names, "--renumber")
    content = _content(request, there, kind)
    try:
        if request.renumber:
            content = replace(content, names=labels_of(content.labels))
        kind.check(content)
        path = request.target.rstrip("/")
        with _alone(path), replacing(path) as part:
            try:
                kind.write(content, part)
            except StoppedError as error:  # the temporary name tells nobody anything
                raise StoppedError(str(error).replace(part, path)) from error
            if content.names is not None:
                numbers = np.arange(1, len(content.names) + 1, dtype=np.uint64)
                write_csv(request.names, {"label": numbers, "label_in_run": content.names})
    except BlockError as error:
        cure = "start the same mitoscale run again with --redo relabel, which writes them anew"
        raise InputError(f"labels of {request.run} are broken ({error}); {cure}") from error


def _check_target(request: Request, run: str) -> None:
    target = request.target
    if not target:
        raise InputError("--to is empty; give the file or folder to make")
    if "://" in target:
        raise InputError(f"--to {target} is an address; export to a local path, then copy it there")
    inside = request.run if not is_remote(run) and _within(target, run) else _run_around(target)
    if inside is not None:
        raise InputError(
            f"--to {target} lies in the run folder {inside}, which holds the run's own files alone; give a path outside"
        )
    if os.path.isdir(target) and not os.path.islink(target.rstrip("/")):
        if os.path.splitext(target)[1] and not target.endswith("/"):
            check_new(target, "--to")
        if os.listdir(target):
            raise InputError(f"{target} holds other files; give a new or empty folder")
    else:
        check_new(target, "--to")
    check_writable(os.path.dirname(os.path.abspath(target)))


def _content(request: Request, there: pipeline.Run, kind: Kind) -> Content:
    plan, run = there.plan, request.run
    if request.table == "cells" and plan.settings.detect.mask is None:
        raise InputError(f"{run} was made without --mask: it has no cells")
    folder = RunFolder(plan.run)
    group, objects = plan.labels, folder.objects
    if request.edits:
        group, objects = current_corrections(plan, pipeline.closing_of(there, "relabel"))
        if request.table in ("detections", "edges", "cells"):
            raise InputError(f"--edits changes objects alone; leave it away for --table {request.table}")
    if kind.labels:
        _check_labels(there, run)
    if kind.objects and not (pipeline.finished(there, "measure") and is_file(objects)):
        raise InputError(f"{run} has not measured its objects yet; finish it with mitoscale run")
    region = Region.of_shape(plan.spec.shape) if request.region is None else Region.parse(request.region, plan.spec.shape)
    if region.intersection(plan.region) is None:
        raise InputError(f"--region {request.region} holds no labels of {run}: it was run on {plan.region}")
    if request.level >= len(plan.spec.factors):
        raise InputError(f"--level {request.level} is not there: {run} has the levels 0 to {len(plan.spec.factors) - 1}")
    name, stage = _TABLES[request.table or "objects"]
    table = objects if name == "objects" else getattr(folder, name)
    if not kind.labels and not (pipeline.finished(there, stage) and is_file(table)):
        raise InputError(f"{run} has no finished table of {request.table or 'objects'} yet; finish it with mitoscale run")
    lost = pipeline.quarantined(there)
    return Content(
        plan=plan,
        target=request.target,
        group=group,
        table=table,
        objects=objects,
        region=region,
        first=request.level,
        missing="fill" if "relabel" in lost else "raise",
        missing_image="fill" if "convert" in lost else "raise",
    )


def _check_labels(there: pipeline.Run, run: str) -> None:
    if not pipeline.finished(there, "relabel"):
        raise InputError(f"{run} has no finished labels yet; finish it with mitoscale run")
    gone = pipeline.missing_shards(there, "relabel")
    if gone:  # they would be read as background
        raise InputError(f"{run} lacks the labels of {len(gone)} blocks ({gone[0]}); start the same mitoscale run again")


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """See that no other export makes the same, and remove what killed ones left of it."""
    folder, name = os.path.split(os.path.abspath(path))
    busy = f"another mitoscale export is writing {path} now; wait for its end, or give another name"
    with exclusively(Path(folder, f".{name}.mitoscale-export"), busy):
        remove_left_over(path)
        yield


def _run_around(path: str) -> str | None:
    """The run folder, of whichever run, that a path is or lies in, links followed."""
    real = Path(os.path.realpath(path))
    return next((str(folder) for folder in (real, *real.parents) if os.path.isfile(RunFolder(str(folder)).run_json)), None)


def _within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it, links followed."""
    real = os.path.realpath(folder)
    return os.path.commonpath([os.path.realpath(path), real]) == real
