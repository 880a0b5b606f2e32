"""Objects in an object store: read, put whole, listed and removed, with tensorstore, which tries again when the store is busy.

An object appears whole or not at all, so nothing here needs a temporary name. Whatever the store refuses or fails at in the end
stops a run, which can be resumed.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import tensorstore as ts

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.addresses import PROBE
from mitoscale.storage.places import explained, kvstore
from mitoscale.storage.tensorstore_context import context

_PIECE = 2**25


class Found(NamedTuple):
    """What a store holds under a name."""

    data: bytes | None
    """The object, or the part of it that was asked for; None where there is none, or where it is the version known already."""
    version: bytes
    """Tells the states of an object apart, also that of there being none."""


def look(address: str, part: slice | None = None, known: bytes | None = None) -> Found:
    """Read an object.

    Parameters
    ----------
    address : str
        The object.
    part : slice, optional
        Bytes of it that are wanted, or as many as there are; a negative start counts from its end.
    known : bytes, optional
        A version that need not be read again.

    Raises
    ------
    StoppedError
        If the store cannot be read.
    """
    store, key = _opened(address)
    with _failing(address, "read"):
        result = _read(store, key, part, known)
    if result is None:
        return Found(b"", b"")
    return Found(bytes(result.value) if result.state == "value" else None, result.stamp.generation)


def _read(store: Any, key: str, part: slice | None, known: bytes | None) -> Any:
    """tensorstore's result; None where the object ends before the part begins."""
    while True:
        try:
            return store.read(key, byte_range=part, if_not_equal=known).result()
        except ValueError as error:
            if part is None or "OUT_OF_RANGE" not in str(error):
                raise
            if part.start >= 0 and part.stop is None:
                return None
        part = slice(part.start, None) if part.start >= 0 else None  # the object is shorter: what there is of it


def pieces(address: str) -> Iterator[bytes]:
    """An object, some of it at a time.

    Raises
    ------
    FileNotFoundError
        If there is none.
    StoppedError
        If the store cannot be read.
    """
    data, at = look(address, slice(0, _PIECE)).data, 0
    if data is None:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", address)
    while True:
        yield data
        at += len(data)
        if len(data) < _PIECE:
            return
        data = look(address, slice(at, at + _PIECE)).data or b""


def put(address: str, data: bytes) -> None:
    """Write an object, whatever was there; it is durable once this returns.

    Parameters
    ----------
    address : str
        The object.
    data : bytes
        All of it.

    Raises
    ------
    StoppedError
        If the store cannot be written.
    """
    store, key = _opened(address)
    with _failing(address, "written"):
        store.write(key, data).result()


def put_if(address: str, data: bytes | None, version: bytes) -> bytes | None:
    """Write or remove an object only while it is still of one version; returns the new version, None where it is not.

    Parameters
    ----------
    address : str
        The object.
    data : bytes or None
        All of it; None removes it.
    version : bytes
        From :func:`look`.

    Raises
    ------
    StoppedError
        If the store cannot be written.
    """
    with _failing(address, "written"):
        try:
            store, key = _opened(address, conditional=True)
            generation: bytes = store.write(key, data, if_equal=version).result().generation
        except NotImplementedError:
            store, key = _opened(address)  # a store without such writes: tensorstore looks first, which two could do at once
            generation = store.write(key, data, if_equal=version).result().generation
    return generation or None


def names_below(address: str) -> list[str]:
    """Names of all objects whose names begin with an address and a slash, without both."""
    store, key = _opened(address)
    with _failing(address, "read"):
        found = store.list(_below(key)).result()
    return [name.decode()[len(key) + 1 :] for name in found]


def is_there(address: str) -> bool:
    """Whether there is an object of this name."""
    store, key = _opened(address)
    with _failing(address, "read"):
        return bool(store.list(ts.KvStore.KeyRange(key, f"{key}\0")).result())


def remove(address: str, *, below: bool = True) -> None:
    """Remove an object; nothing happens where there is none.

    Parameters
    ----------
    address : str
        The object.
    below : bool
        Whether all whose names begin with its own and a slash go, too.

    Raises
    ------
    StoppedError
        If the store cannot be written.
    """
    store, key = _opened(address)
    with _failing(address, "written"):
        removed = store.delete_range(_below(key)) if below else None
        store.write(key, None).result()
        if removed is not None:
            removed.result()


def check_reached(address: str) -> None:
    """Raise where a store cannot be read: no such bucket, no credentials, no server.

    Raises
    ------
    InputError
        In one line with its cure.
    """
    try:
        is_there(f"{address}/{PROBE}")
    except StoppedError as error:
        raise InputError(str(error)) from error


def check_written(address: str) -> None:
    """Raise where a store cannot be written; leaves nothing behind.

    Raises
    ------
    InputError
        In one line with its cure.
    """
    try:
        put(f"{address}/{PROBE}", b"")
        remove(f"{address}/{PROBE}", below=False)
    except StoppedError as error:
        raise InputError(str(error)) from error


def _below(key: str) -> Any:
    return ts.KvStore.KeyRange(f"{key}/", f"{key}0")  # 0 is what follows the slash


@contextmanager
def _failing(address: str, doing: Literal["read", "written"]) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        raise StoppedError(str(explained(address, error, doing=doing))) from error


def _opened(address: str, *, conditional: bool = False) -> tuple[Any, str]:
    """The bucket's store, and the name in it."""
    bucket, _, key = address.partition("://")[2].partition("/")
    spec = kvstore(f"{address.partition('://')[0]}://{bucket}/") | {"path": "", "use_conditional_write": conditional}
    return _store(json.dumps(spec)), key


@lru_cache(maxsize=16)
def _store(spec: str) -> Any:
    return ts.KvStore.open(json.loads(spec), context=context()).result()
