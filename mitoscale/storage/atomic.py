"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mitoscale.core.errors import StoppedError
from mitoscale.storage.addresses import is_remote, name_of

_WAITS = (0.1, 0.2, 0.4)
"""Seconds between removals of a folder: writes that another thread had begun may make it anew."""


@contextmanager
def replacing(path: str, *, durable: bool = True) -> Iterator[str]:
    """Give a temporary path beside ``path``; on success make it durable and rename it to ``path``.

    Missing parent folders are made. On any error what is temporary is removed and an older ``path`` stays as it was.
    Of an address the temporary file is on this machine's disk, and is put as one object in the end.

    Parameters
    ----------
    path : str
        The file or object to make or replace, or the folder to make, where there is none or an empty one.
    durable : bool
        Wait until it is on the disk (of a folder, that it has its name); needless where a crash makes it worthless anyway.

    Yields
    ------
    str
        Where to write; of a local path in the same folder, because a rename is atomic only within one file system.

    Raises
    ------
    StoppedError
        If the folder or the file cannot be written (disk full, no permission), or the store.
    """
    if is_remote(path):
        with _putting(path) as temporary:
            yield temporary
        return
    folder = os.path.dirname(os.path.abspath(path))
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(folder)
    except OSError as error:
        raise StoppedError(
            f"cannot write {path}: {error.strerror or error}; free or repair the disk, then repeat the command"
        ) from error
    finally:
        if os.path.isdir(temporary):
            _remove_folder(temporary)
        with suppress(OSError):  # it is gone after the rename; if it cannot be removed, the first error counts
            os.remove(temporary)


@contextmanager
def _putting(address: str) -> Iterator[str]:
    """A temporary file that is put as an object in the end."""
    from mitoscale.storage.object_store import put

    with TemporaryDirectory(prefix="mitoscale-") as folder:
        temporary = os.path.join(folder, name_of(address))
        try:
            yield temporary
            data = Path(temporary).read_bytes()
        except OSError as error:
            raise StoppedError(
                f"cannot write {temporary} for {address}: {error.strerror or error}; free space, or name another folder as TMPDIR"
            ) from error
        put(address, data)


def remove_left_over(path: str) -> None:
    """Remove what processes that were killed left of :func:`replacing` a path; only where no other may be at work on it."""
    folder, name = os.path.split(os.path.abspath(path))
    temporary = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{8}\.tmp")
    with suppress(OSError):  # of no folder nothing is left
        for entry in [entry for entry in os.scandir(folder) if temporary.fullmatch(entry.name)]:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.remove(entry.path)


def _remove_folder(path: str) -> None:
    """Remove a folder, and again for a while where it is made anew."""
    for wait in _WAITS:
        shutil.rmtree(path, ignore_errors=True)
        time.sleep(wait)
    shutil.rmtree(path, ignore_errors=True)


def sync(path: str) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
