"""Reading what earlier tasks wrote: a task that was given up reads as 0, and what is missing, broken or stale is told by name.

A writer stores with its block a seal for each region that another block will read: the checksum of that region. The reader
compares. So a shard that is whole but old (a stale cache of a network disk) does not pass for the right one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from mitoscale.core.errors import BlockError, DamagedError, InputError
from mitoscale.core.geometry import Region
from mitoscale.core.grid import BlockGrid, block_name
from mitoscale.storage.arrays import Array, checksum
from mitoscale.storage.sources.reader import Reader
from mitoscale.storage.table_file import TaskTables
from mitoscale.storage.tables import Columns, read_table

Seals = dict[str, str]
"""Region as text -> checksum of what was written there."""


def seal(data: np.ndarray, covers: Region, parts: Iterable[Region]) -> Seals:
    """Seals of the parts of an array that others will read.

    Parameters
    ----------
    data : (Z, Y, X) ndarray
        What was written.
    covers : Region
        The voxels it covers.
    parts : iterable of Region
        Within ``covers``.
    """
    return {str(part): checksum(np.ascontiguousarray(data[part.within(covers)])) for part in parts}


def seals_of_zeros(parts: Iterable[Region], dtype: np.dtype | str) -> Seals:
    """What :func:`seal` gives for parts of an array that is 0 throughout, without looking at it.

    Parameters
    ----------
    parts : iterable of Region
        The parts.
    dtype : dtype
        Of the array.
    """
    return {str(part): _checksum_of_zeros(part.shape, np.dtype(dtype).str) for part in parts}


def check_seal(data: np.ndarray, part: Region, seals: Mapping[str, str], *, stage: str, task: str) -> None:
    """Raise where what was read is not what was written; a region that nobody sealed passes.

    Parameters
    ----------
    data : (Z, Y, X) array
        What was read.
    part : Region
        Where that is.
    seals : mapping
        Of each sealed region its checksum.
    stage, task : str
        Who wrote it.

    Raises
    ------
    DamagedError
        Naming the task that wrote it.
    """
    expected = seals.get(str(part))
    if expected is not None and checksum(np.ascontiguousarray(data)) != expected:
        raise DamagedError(stage, task, f"voxels {part} are not those that were written")


def known_empty(part: Region, dtype: np.dtype | str, seals: Mapping[str, str]) -> bool:
    """Whether a seal tells that a region is 0 throughout, so that nobody need read it.

    Parameters
    ----------
    part : Region
        The region.
    dtype : dtype
        Of the array that was written.
    seals : mapping
        Of each sealed region its checksum.
    """
    return of_zeros(seals.get(str(part)), part, dtype)


def of_zeros(told: str | None, part: Region, dtype: np.dtype | str) -> bool:
    """Whether a checksum is that of an array that is 0 throughout.

    Parameters
    ----------
    told : str or None
        The checksum.
    part : Region
        What the array covers.
    dtype : dtype
        Of the array.
    """
    return told == _checksum_of_zeros(part.shape, np.dtype(dtype).str)


@lru_cache(maxsize=64)
def _checksum_of_zeros(shape: tuple[int, ...], dtype: str) -> str:
    return checksum(np.zeros(shape, dtype))


def table_checksum(columns: Columns) -> str:
    """Digest of a table's columns, 32 hex digits."""
    joined = "".join(f"{name}{checksum(values)}" for name, values in columns.items())
    return checksum(np.frombuffer(joined.encode(), np.uint8))


def sealed(seals: Mapping[str, str]) -> dict[str, str]:
    """The note with which seals are stored beside a task's tables."""
    return {"seals": json.dumps(dict(seals))}


def seals_of(written: TaskTables) -> Seals:
    """The seals that a task stored with its tables."""
    seals: Seals = json.loads(written.note.get("seals", "{}"))
    return seals


@contextmanager
def damaged_table(stage: str, task: str = "") -> Iterator[None]:
    """Tell who wrote a table that cannot be read.

    Parameters
    ----------
    stage, task : str
        Who wrote it.

    Raises
    ------
    DamagedError
        In place of the InputError of a missing or broken table.
    """
    try:
        yield
    except InputError as error:
        raise DamagedError(stage, task, str(error)) from error


def read_written_table(path: str, *, stage: str, task: str, columns: Sequence[str] | None = None) -> Columns:
    """A table that a task wrote; raises DamagedError where it is missing or broken.

    Parameters
    ----------
    path : str
        The task's table.
    stage, task : str
        Who wrote it.
    columns : sequence of str, optional
        Those that are read; by default all.
    """
    with damaged_table(stage, task):
        return read_table(path, columns)


def read_written(array: Array | Reader, region: Region, grid: BlockGrid, *, stage: str, lost: frozenset[str]) -> np.ndarray:
    """A region of an array that the tasks of a stage wrote, core by core; lost cores are 0.

    Parameters
    ----------
    array : Array or Reader
        Indexed by level-0 voxels.
    region : Region
        What is wanted.
    grid : BlockGrid
        The cores in which it was written.
    stage : str
        The stage that wrote it.
    lost : frozenset of str
        Names of its blocks that were given up.

    Returns
    -------
    (Z, Y, X) ndarray
        Of the array's dtype.

    Raises
    ------
    DamagedError
        If a core that should be there is missing or broken.
    """
    names = {index: block_name(index) for index in grid.meeting(region)}
    if lost.isdisjoint(names.values()):
        try:
            return array.read(region)
        except BlockError:
            pass  # whose it is, is found below
    data = np.zeros(region.shape, array.dtype)
    for index, name in names.items():
        part = grid.block(index).core.intersection(region)
        if part is None or name in lost:
            continue
        try:
            data[part.within(region)] = array.read(part)
        except BlockError as error:
            raise DamagedError(stage, name, str(error)) from error
    return data
