"""A file with the tables of several tasks: a part for each, and an index at its end.

A part is compressed (zstd) and holds JSON that tells each column's dtype and length, then the columns' bytes. The index is JSON
too: the settings' token, and where each part lies, how long it is and its checksum. Nothing is decoded before its checksum was
compared: a broken file is told, and cannot do harm.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from mitoscale.storage.atomic import replacing
from mitoscale.storage.tables import Columns

_MAGIC = b"mitotab1"
_END = struct.Struct("<Q16s8s")
_LENGTH = struct.Struct("<QQ")


class UnfitFileError(Exception):
    """A file that cannot be used."""


class OtherSettingsError(UnfitFileError):
    """A file that was made with other settings."""


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


def write_parts(path: Path, parts: Mapping[str, bytes], token: str, *, durable: bool = True) -> None:
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : Path
        Where.
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
    at, places = 0, {}
    for name, part in parts.items():
        places[name] = (at, len(part), xxhash.xxh3_128_hexdigest(part))
        at += len(part)
    index = json.dumps({"token": token, "parts": places}).encode()
    with replacing(str(path), durable=durable) as temporary, open(temporary, "wb") as file:
        file.writelines(parts.values())
        file.write(index + _END.pack(len(index), xxhash.xxh3_128_digest(index), _MAGIC))


def names_in(path: Path, token: str) -> Collection[str]:
    """The tasks a file has parts of.

    Parameters
    ----------
    path : Path
        The file.
    token : str
        Of the settings it must be made with.

    Raises
    ------
    UnfitFileError
        If it is missing, broken, or made with other settings.
    """
    return _places(path, token)


def part_of(path: Path, task: str, token: str) -> bytes:
    """A task's part of a file, its checksum compared.

    Parameters
    ----------
    path : Path
        The file.
    task : str
        The task's name.
    token : str
        Of the settings it must be made with.

    Raises
    ------
    UnfitFileError
        As :func:`names_in`, or if it has no part of the task.
    """
    return next(parts_of(path, [task], token))[1]


def parts_of(path: Path, tasks: Iterable[str], token: str) -> Iterator[tuple[str, bytes]]:
    """Name and part of some tasks, their checksums compared; the file is opened once.

    Parameters
    ----------
    path : Path
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
    places = _places(path, token)
    try:
        with open(path, "rb") as file:
            for task in tasks:
                if task not in places:
                    raise UnfitFileError(f"{path} has no tables of {task}")
                at, size, expected = places[task]
                file.seek(at)
                part = file.read(size)
                if xxhash.xxh3_128_hexdigest(part) != expected:
                    raise UnfitFileError(f"{path}: what it holds of {task} is not what was written")
                yield task, part
    except OSError as error:
        raise UnfitFileError(f"{path} ({error.strerror})") from error


def _places(path: Path, token: str) -> dict[str, tuple[int, int, str]]:
    try:
        status = path.stat()
        found, places = _index(str(path), status.st_mtime_ns, status.st_ino, status.st_size)
    except OSError as error:
        raise UnfitFileError(f"{path} ({error.strerror})") from error
    if found != token:
        raise OtherSettingsError(f"{path} was made with other settings")
    return places


@lru_cache(maxsize=24)  # a row of super-blocks of two stages; a stage's blocks go along x
def _index(path: str, modified: int, inode: int, size: int) -> tuple[str, dict[str, tuple[int, int, str]]]:
    """Token and places; the last three arguments tell a file from a later one."""
    with open(path, "rb") as file:
        if size >= _END.size:
            file.seek(size - _END.size)
            length, digest, magic = _END.unpack(file.read(_END.size))
            if magic == _MAGIC and length <= size - _END.size:
                file.seek(size - _END.size - length)
                index = file.read(length)
                if xxhash.xxh3_128_digest(index) == digest:
                    content = json.loads(index)
                    return content["token"], {name: (a, n, d) for name, (a, n, d) in content["parts"].items()}
    raise UnfitFileError(f"{path} is broken")
