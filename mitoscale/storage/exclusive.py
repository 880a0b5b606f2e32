"""A file that one process at a time holds, so that two do not write the same results.

``flock`` where it works: the system itself lets go of it when its holder dies. Where a file system has no such locks, or each
machine its own, :mod:`mitoscale.storage.owner_file` stands in, and that is said in one line. An object store has none either:
there it is :mod:`mitoscale.storage.owner_object`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.mounts import has_local_locks
from mitoscale.storage.owner_file import is_owned, owned

_log = logging.getLogger(__name__)

_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_OWNER = ".owner"
_WAITS = (0.05, 0.1, 0.2, 0.0)
"""Seconds between tries: a look at whether it is held holds it for a moment."""


@contextmanager
def exclusively(path: str | Path, busy: str) -> Iterator[None]:
    """Hold a lock file meanwhile; it is removed at the end, and a killed process holds it no longer.

    Parameters
    ----------
    path : str or Path
        The lock file, whose folder is made where it is missing; or an address, beside which an object tells the owner.
    busy : str
        What to say where another process holds it.

    Raises
    ------
    InputError
        With ``busy``, or if its folder may not be written.
    StoppedError
        If the file cannot be made.
    """
    if is_remote(path):
        from mitoscale.storage.owner_object import owned_object

        with owned_object(f"{path}{_OWNER}", busy):
            yield
        return
    with _on_disk(Path(path), busy):
        yield


@contextmanager
def _on_disk(path: Path, busy: str) -> Iterator[None]:
    descriptor, locks = _taken(path, busy)
    try:
        how = "has no file locks" if not locks else "keeps file locks to one machine" if has_local_locks(path) else ""
        if how:
            _log.warning("the file system of %s %s: a file that tells its owner, renewed all the time, stands in", path.parent, how)
        with owned(_owner_of(path), busy) if how else nullcontext():
            yield
    finally:
        with suppress(OSError):  # if it stays, nobody holds it
            path.unlink()
        os.close(descriptor)


def is_held(path: str | Path) -> bool:
    """Whether a process holds a lock file; looking refuses nobody.

    Parameters
    ----------
    path : str or Path
        As given to :func:`exclusively`.
    """
    if is_remote(path):
        from mitoscale.storage import owner_object

        return owner_object.is_owned(f"{path}{_OWNER}")
    with suppress(FileNotFoundError, PermissionError), open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    return is_owned(_owner_of(Path(path)))


def files_of(name: str) -> tuple[str, str]:
    """Names of the files, or the object, that a lock of this name may consist of."""
    return name, f"{name}{_OWNER}"


def _taken(path: Path, busy: str) -> tuple[int, bool]:
    """The open lock file, and whether the file system has locks."""
    for wait in _WAITS:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            time.sleep(wait)
            continue
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return descriptor, False
            os.close(descriptor)
            raise _unwritable(path, error) from error
        if _is_still(path, descriptor):
            return descriptor, True
        os.close(descriptor)  # removed by who held it until now
    raise InputError(busy)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> Exception:
    if error.errno in _FORBIDDEN:
        return InputError(f"{path.parent} cannot be written ({error.strerror}); make it writable, or work on a copy of it")
    return StoppedError(f"cannot write {path}: {error.strerror}; free or repair the disk, then repeat the command")


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _owner_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{_OWNER}")
