"""Files of lines that are only ever appended to, by one process, and that a crash may have cut off; in a store, segments."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from mitoscale.core.errors import InputError
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.line_segments import Segments, segments_of, segments_version
from mitoscale.storage.stored_files import remove_tree

_PIECE = 2**20


def open_to_append(path: Path) -> IO[bytes]:
    """The file, opened at its end; its folder is made, and a last line without an end gets one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab+")
    file.seek(0, os.SEEK_END)
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


class Appended(Protocol):
    """Where lines are appended."""

    def add(self, line: bytes) -> None:
        """Append a line, without its end; it is durable within a second, and after :meth:`close`."""

    def close(self) -> None:
        """Make all lines durable."""


class LineFile:
    """Lines that are appended to a file.

    Parameters
    ----------
    path : str
        The file; its folder is made.
    """

    _SYNC_SECONDS = 1.0

    def __init__(self, path: str) -> None:
        self._file = open_to_append(Path(path))
        self._synced = 0.0

    def add(self, line: bytes) -> None:
        """See :class:`Appended`; others see it at once."""
        self._file.write(line + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced > self._SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """See :class:`Appended`."""
        with self._file:
            self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def appended(path: str) -> Appended:
    """Open a file of lines, or segments of them, to append more."""
    return Segments.of(path) if is_remote(path) else LineFile(path)


def version_of(path: str) -> tuple[object, ...]:
    """Tells the states of a file of lines apart, without reading it: each line that is appended changes it."""
    if is_remote(path):
        return segments_version(path)
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def forget_lines(path: str) -> None:
    """Remove all lines."""
    if is_remote(path):
        Segments.of(path).forget()
    else:
        remove_tree(path)


def lines_of(path: str) -> Iterator[bytes]:
    """The lines of a file, or of segments, without their ends, blank ones left out; none where there is no file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if is_remote(path):
        for segment in segments_of(path):
            yield from segment.splitlines()
        return
    rest = b""
    with _reading(path), open(path, "rb") as file:
        while piece := file.read(_PIECE):
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def lines_from_the_end(path: str) -> Iterator[bytes]:
    """As :func:`lines_of`, the last line first; what is appended meanwhile is left out."""
    if is_remote(path):
        for segment in segments_of(path, from_the_end=True):
            yield from reversed(segment.splitlines())
        return
    rest = b""
    with _reading(path), open(path, "rb") as file:
        start = file.seek(0, os.SEEK_END)
        while start:
            start, stop = max(0, start - _PIECE), start
            file.seek(start)
            rest, *whole = (file.read(stop - start) + rest).split(b"\n")
            yield from (line for line in reversed(whole) if line.strip())
    if rest.strip():
        yield rest


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """What errors of reading become; a file that is not there is no error."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); restore it, or start in a new folder") from error
