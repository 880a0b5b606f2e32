"""A file that one process at a time holds, so that two do not write the same results."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mitoscale.core.errors import InputError, StoppedError


@contextmanager
def exclusively(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file meanwhile; it is removed at the end, and a killed process holds it no longer.

    Parameters
    ----------
    path : Path
        The lock file; its folder is made where it is missing.
    busy : str
        What to say where another process holds it.

    Raises
    ------
    InputError
        With ``busy``.
    StoppedError
        If the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoppedError(f"cannot write {path}: {error.strerror}; free or repair the disk, then repeat the command") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(busy) from None
        if not _is_still(path, descriptor):  # removed by who held it until now
            raise InputError(busy)
        try:
            yield
        finally:
            with suppress(OSError):  # if it stays, nobody holds it
                path.unlink()
    finally:
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
