"""Files on a disk and objects of an object store, by path or address: read, looked for, listed, removed and copied alike."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mitoscale.core.errors import StoppedError
from mitoscale.storage.addresses import is_remote, join, name_of

_SAMPLE = 64


def read(path: str) -> bytes | None:
    """All bytes of a file; None where there is none.

    Raises
    ------
    OSError
        If a local one cannot be read.
    StoppedError
        If a store cannot.
    """
    if is_remote(path):
        from mitoscale.storage.object_store import look

        return look(path).data
    with suppress(FileNotFoundError, NotADirectoryError):
        return Path(path).read_bytes()
    return None


def write(path: str, data: bytes) -> None:
    """Write a file, its folder, too; only an object is whole or not there, see :func:`mitoscale.storage.atomic.replacing`.

    Parameters
    ----------
    path : str
        The file.
    data : bytes
        All of it.

    Raises
    ------
    OSError
        If a local one cannot be written.
    StoppedError
        If a store cannot.
    """
    if is_remote(path):
        from mitoscale.storage.object_store import put

        return put(path, data)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


def is_file(path: str) -> bool:
    """Whether there is a file of this name."""
    if is_remote(path):
        from mitoscale.storage.object_store import is_there

        return is_there(path)
    return os.path.isfile(path)


def is_folder(path: str) -> bool:
    """Whether there is a folder of this name; in a store, whether anything lies there."""
    if is_remote(path):
        from mitoscale.storage.object_store import names_below

        return bool(names_below(path))
    return os.path.isdir(path)


def names_in(folder: str) -> list[str]:
    """Names of the files right in a folder, in any order; none where it is not there."""
    if is_remote(folder):
        from mitoscale.storage.object_store import names_below

        return [name for name in names_below(folder) if "/" not in name]
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return [entry.name for entry in entries]
    return []


def names_at(folder: str) -> list[str]:
    """Names of the files and folders in a folder, in any order; in a store of all below it. None where it is not there."""
    if is_remote(folder):
        from mitoscale.storage.object_store import names_below

        return names_below(folder)
    return names_in(folder)


def remove_file(path: str) -> None:
    """Remove a file; nothing happens where there is none."""
    if is_remote(path):
        from mitoscale.storage.object_store import remove

        return remove(path, below=False)
    Path(path).unlink(missing_ok=True)


def remove_tree(path: str) -> None:
    """Remove a file or folder with all it holds; nothing happens where there is none."""
    if is_remote(path):
        from mitoscale.storage.object_store import remove

        return remove(path)
    target = Path(path)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def stored_bytes(folder: str) -> float:
    """Bytes of all files in a folder; in a store from some objects, evenly taken: it tells no sizes, so they are read."""
    if not is_remote(folder):
        return float(sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()))
    from mitoscale.storage.object_store import look, names_below

    names = names_below(folder)
    taken = names[:: -(-len(names) // _SAMPLE)] if names else []
    return sum(len(look(join(folder, name)).data or b"") for name in taken) * len(names) / max(len(taken), 1)


@contextmanager
def on_disk(path: str) -> Iterator[str]:
    """Where a file can be opened: a local one where it is, an object as a temporary copy, made piece by piece.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    """
    if not is_remote(path):
        yield path
        return
    from mitoscale.storage.object_store import pieces

    with tempfile.TemporaryDirectory(prefix="mitoscale-") as folder:
        copy = os.path.join(folder, name_of(path))
        try:
            with open(copy, "wb") as file:
                for piece in pieces(path):
                    file.write(piece)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoppedError(f"cannot write {copy}: {error.strerror}; free space, or name another folder as TMPDIR") from error
        yield copy
