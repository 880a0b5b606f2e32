"""Files of lines that are only ever appended to, by one process, and that a crash may have cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                *whole, rest = (rest + piece).split(b"\n")
                yield from (line for line in whole if line.strip())
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); restore it, or start in a new folder") from error
    if rest.strip():
        yield rest
