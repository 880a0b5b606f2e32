"""Where things lie in a run folder, on a disk or in an object store, and the small JSON files in it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.atomic import replacing
from mitoscale.storage.stored_files import is_file, read

LABELS = "mitochondria"
"""Name of the label image."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run folder.

    Examples
    --------
    >>> RunFolder("/tmp/run").objects
    '/tmp/run/tables/objects.parquet'
    """

    path: str
    """Absolute path of the folder, or its address in an object store."""

    def _at(self, *parts: str) -> str:
        return join(self.path, *parts)

    @property
    def run_json(self) -> str:
        """Settings, provenance and plan."""
        return self._at("run.json")

    @property
    def volume(self) -> str:
        """OME-Zarr image."""
        return self._at("volume.zarr")

    @property
    def labels(self) -> str:
        """OME-Zarr labels."""
        return self._at("volume.zarr", "labels", LABELS)

    @property
    def work(self) -> str:
        """What only later stages need."""
        return self._at("work")

    @property
    def foreground(self) -> str:
        """Zarr array (Z, Y, X) uint8: foreground probability times 255."""
        return self._at("work", "foreground.zarr")

    @property
    def fragments(self) -> str:
        """Zarr array (Z, Y, X) uint32: a slot for each block, in the grid's order, with local ids over its read region."""
        return self._at("work", "fragments.zarr")

    @property
    def edges(self) -> str:
        """Tables of each face; see :mod:`mitoscale.stages.work_tables`."""
        return self._at("work", "edges")

    @property
    def label_tables(self) -> str:
        """Table of each block: local id and label."""
        return self._at("work", "label_table")

    @property
    def final_tables(self) -> str:
        """Table of each block: its fragments with their labels once small objects are dropped (0) and the rest numbered."""
        return self._at("work", "final")

    @property
    def detections_parts(self) -> str:
        """Tables of each block."""
        return self._at("work", "detections")

    @property
    def masks_parts(self) -> str:
        """Tables of each block: what is known of each fragment's masks."""
        return self._at("work", "fragments")

    @property
    def objects_parts(self) -> str:
        """Tables of each block: partial sums of each object."""
        return self._at("work", "objects")

    @property
    def grey_parts(self) -> str:
        """Tables of each task of convert: how often which grey value occurs, where all is of one value, sums of each slice."""
        return self._at("work", "grey")

    @property
    def coarse_parts(self) -> str:
        """Zarr array (Z, Y, X): level 1 as convert's tasks make it of what they hold, a file a task; until the pyramid is made."""
        return self._at("work", "coarse_parts.zarr")

    @property
    def padding(self) -> str:
        """Zarr array (Z, Y, X) uint8 of cells of the region: 1 is padding; there is none where all is tissue."""
        return self._at("work", "padding.zarr")

    @property
    def slices(self) -> str:
        """Table of all slices: whether they are good, and what stands for those that are not."""
        return self._at("tables", "slices.parquet")

    @property
    def grey(self) -> str:
        """How grey values are normalised, and what was left out of that."""
        return self._at("tables", "grey.json")

    @property
    def detections(self) -> str:
        """Table of detections."""
        return self._at("tables", "detections.parquet")

    @property
    def objects(self) -> str:
        """Table of objects."""
        return self._at("tables", "objects.parquet")

    @property
    def objects_csv(self) -> str:
        """The same as text."""
        return self._at("tables", "objects.csv")

    @property
    def cells(self) -> str:
        """Table of the cells of a mask."""
        return self._at("tables", "cells.parquet")

    @property
    def contacts(self) -> str:
        """Table of the pairs of objects that touch."""
        return self._at("tables", "contacts.parquet")

    @property
    def edges_table(self) -> str:
        """Table of edges: the seam report."""
        return self._at("tables", "edges.parquet")

    @property
    def report(self) -> str:
        """The report."""
        return self._at("report.html")

    @property
    def pictures(self) -> str:
        """Pictures of the report."""
        return self._at("pictures")

    def ledger(self, stage: str) -> str:
        """A stage's ledger: a file of lines, or in an object store a folder of segments of them."""
        return self._lines(stage)

    @property
    def starts(self) -> str:
        """How often a stage was begun."""
        return self._at("ledger", "starts.json")

    @property
    def events(self) -> str:
        """Log of faults, and of what became of them."""
        return self._lines("events")

    def _lines(self, name: str) -> str:
        return self._at("ledger", name if is_remote(self.path) else f"{name}.jsonl")

    def has_work(self) -> bool:
        """Whether what only later stages need is there, once there was any; ``mitoscale clean`` removes it."""
        # in a store a folder is its objects: one that is there from detect on is looked for, not all of millions
        return is_file(join(self.foreground, "zarr.json")) if is_remote(self.path) else os.path.isdir(self.work)


def write_json(path: str, content: Any) -> None:
    """Write JSON atomically, making the folder where it is missing.

    Parameters
    ----------
    path : str
        File to write.
    content : object
        What JSON can hold.

    Raises
    ------
    StoppedError
        If it cannot be written, as on a full disk.
    """
    text = json.dumps(content, indent=2) + "\n"
    with replacing(path) as part:
        Path(part).write_text(text)


def read_json(path: str) -> Any:
    """Read JSON.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    try:
        content = read(path)
        if content is None:
            raise InputError(f"cannot read {path} ({os.strerror(errno.ENOENT)})")
        return json.loads(content)
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): restore it, or start in a new folder") from error


def check_writable(path: str) -> None:
    """Raise unless a folder is there, or can be made, and can be written; leaves nothing behind.

    Raises
    ------
    InputError
        If it is an address or a file, or the nearest existing folder cannot be written.
    """
    if is_remote(path):
        raise InputError(f"{path} is an address; give a folder, or a file in one")
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{path} cannot be made: {folder} is a file; give another folder")
    probe = folder / f".mitoscale-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror} in {folder}); give another folder") from error


def check_new(path: str, option: str) -> None:
    """Raise where there is something already, be it a link that leads nowhere: what a command writes replaces nothing.

    Parameters
    ----------
    path : str
        The file or folder that is to be made.
    option : str
        The option that names it, such as ``--to``.

    Raises
    ------
    InputError
        If it exists.
    """
    if os.path.lexists(path.rstrip("/") or path):
        raise InputError(f"{option} {path} exists already; give another name, or remove it first")


def free_name(path: str) -> str:
    """A path, or where there is something already the first of ``name-2.ext``, ``name-3.ext`` ... where there is nothing."""
    stem, extension = os.path.splitext(path)
    number = 1
    while os.path.lexists(path):
        number += 1
        path = f"{stem}-{number}{extension}"
    return path


def remove_if_empty(path: str) -> None:
    """Remove a folder that holds nothing; any other is left alone."""
    folder = Path(path)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def free_bytes(path: str) -> int:
    """Free space, in bytes, where a path lies or would lie; a store has no end."""
    if is_remote(path):
        return sys.maxsize
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
