"""A file with the tables of several tasks: a part for each, and an index at its end.

A part is compressed (zstd) and holds JSON that tells each column's dtype and length, then the columns' bytes. The index is JSON
too: the settings' token, and where each part lies, how long it is and its checksum. Nothing is decoded before its checksum was
compared: a broken file is told, and cannot do harm.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
import xxhash

from mitoscale.storage.addresses import is_remote
from mitoscale.storage.atomic import replacing
from mitoscale.storage.table_index import (
    END_SIZE,
    NoFileError,
    OtherSettingsError,
    Places,
    UnfitFileError,
    index_in,
    index_of,
    index_size,
)
from mitoscale.storage.tables import Columns

_LENGTH = struct.Struct("<QQ")


@dataclass(frozen=True, kw_only=True)
class TaskTables:
    """What one task has written."""

    tables: dict[str, Columns]
    """Its tables by name."""
    note: dict[str, str] = field(default_factory=dict)
    """Small texts stored with them, such as seals."""


def packed(task: TaskTables) -> bytes:
    """A task's tables as a part of a file."""
    columns = {t: {name: (values.dtype.str, len(values)) for name, values in c.items()} for t, c in task.tables.items()}
    head = json.dumps({"note": task.note, "tables": columns}).encode()
    body = b"".join(np.ascontiguousarray(values).tobytes() for table in task.tables.values() for values in table.values())
    squeezed: bytes = pa.compress(head + body, codec="zstd", asbytes=True)
    return _LENGTH.pack(len(head), len(head) + len(body)) + squeezed


def unpacked(part: bytes, only: Collection[str] | None = None) -> TaskTables:
    """The tables in a part whose checksum was compared.

    Parameters
    ----------
    part : bytes
        From a file.
    only : collection of str, optional
        The tables that are wanted; by default all.
    """
    length, size = _LENGTH.unpack_from(part)
    raw: bytes = pa.decompress(part[_LENGTH.size :], decompressed_size=size, codec="zstd", asbytes=True)
    head, at = json.loads(raw[:length]), length
    tables: dict[str, Columns] = {}
    for table, columns in head["tables"].items():
        found = {}
        wanted = only is None or table in only
        for name, (text, count) in columns.items():
            kind = _dtype(text)
            if wanted:
                found[name] = np.frombuffer(raw, kind, count, at).copy()
            at += count * kind.itemsize
        if wanted:
            tables[table] = found
    return TaskTables(tables=tables, note=head["note"])


_dtype = lru_cache(maxsize=256)(np.dtype)


def write_parts(path: str, parts: Mapping[str, bytes], token: str, *, durable: bool = True) -> None:
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : str
        Where; also an address in an object store.
    parts : mapping
        For each task's name what :func:`packed` gave.
    token : str
        Of the settings it is made with.
    durable : bool
        Whether to wait until it is on the disk.

    Raises
    ------
    StoppedError
        If it cannot be written, as on a full disk.
    """
    end = index_of(parts, token)
    if is_remote(path):
        from mitoscale.storage.object_store import put

        return put(path, b"".join((*parts.values(), end)))
    with replacing(path, durable=durable) as temporary, open(temporary, "wb") as file:
        file.writelines(parts.values())
        file.write(end)


def tasks_of(path: str, token: str) -> Collection[str]:
    """The tasks a file has parts of.

    Parameters
    ----------
    path : str
        The file.
    token : str
        Of the settings it must be made with.

    Raises
    ------
    UnfitFileError
        If it is missing, broken, or made with other settings.
    """
    with _opened(path, token, 0) as (places, _):
        return places


def part_of(path: str, task: str, token: str) -> bytes:
    """A task's part of a file, its checksum compared.

    Parameters
    ----------
    path : str
        The file.
    task : str
        The task's name.
    token : str
        Of the settings it must be made with.

    Raises
    ------
    UnfitFileError
        As :func:`tasks_of`, or if it has no part of the task.
    """
    return next(parts_of(path, [task], token))[1]


def parts_of(path: str, tasks: Iterable[str], token: str) -> Iterator[tuple[str, bytes]]:
    """Name and part of some tasks, their checksums compared; the file is opened once.

    Parameters
    ----------
    path : str
        The file.
    tasks : iterable of str
        Names of tasks.
    token : str
        Of the settings it must be made with.

    Raises
    ------
    UnfitFileError
        As :func:`part_of`.
    """
    wanted = list(tasks)
    with _opened(path, token, len(wanted)) as (places, cut):
        for task in wanted:
            if task not in places:
                raise UnfitFileError(f"{path} has no tables of {task}")
            at, size, expected = places[task]
            part = cut(at, size)
            if xxhash.xxh3_128_hexdigest(part) != expected:
                raise UnfitFileError(f"{path}: what it holds of {task} is not what was written")
            yield task, part


@contextmanager
def _opened(path: str, token: str, parts: int) -> Iterator[tuple[Places, Callable[[int, int], bytes]]]:
    """A file's places, and what reads so many bytes from a place on; so many parts of it are wanted."""
    try:
        if is_remote(path):
            from mitoscale.storage.table_objects import fetch

            found, places, cut = fetch(path, parts)
            _check_token(path, found, token)
            yield places, cut
            return
        status = os.stat(path)
        found, places = _index(path, status.st_mtime_ns, status.st_ino, status.st_size)
        _check_token(path, found, token)
        if not parts:
            yield places, _nothing
            return
        with open(path, "rb") as file:

            def cut_out(at: int, size: int) -> bytes:
                file.seek(at)
                return file.read(size)

            yield places, cut_out
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoFileError(f"{path} ({error.strerror})") from error
    except OSError as error:
        raise UnfitFileError(f"{path} ({error.strerror})") from error


def _check_token(path: str, found: str, token: str) -> None:
    if found != token:
        raise OtherSettingsError(f"{path} was made with other settings")


def _nothing(at: int, size: int) -> bytes:
    return b""


@lru_cache(maxsize=24)  # a row of super-blocks of two stages; a stage's blocks go along x
def _index(path: str, modified: int, inode: int, size: int) -> tuple[str, Places]:
    """Token and places; the last three arguments tell a file from a later one."""
    with open(path, "rb") as file:
        if size >= END_SIZE:
            file.seek(size - END_SIZE)
            end = file.read(END_SIZE)
            file.seek(max(0, size - index_size(end)))
            return index_in(path, file.read())
    raise UnfitFileError(f"{path} is broken")
