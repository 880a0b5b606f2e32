"""Files of lines that are only ever appended to, by one process, and that a crash may have cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mitoscale.core.errors import InputError

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


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file without their ends, blank ones left out; none where there is no file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    rest = b""
    with _reading(path), path.open("rb") as file:
        while piece := file.read(_PIECE):
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def lines_from_the_end(path: Path) -> Iterator[bytes]:
    """As :func:`lines_of`, the last line first; what is appended meanwhile is left out."""
    rest = b""
    with _reading(path), path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        while start:
            start, stop = max(0, start - _PIECE), start
            file.seek(start)
            rest, *whole = (file.read(stop - start) + rest).split(b"\n")
            yield from (line for line in reversed(whole) if line.strip())
    if rest.strip():
        yield rest


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What errors of reading become; a file that is not there is no error."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); restore it, or start in a new folder") from error
