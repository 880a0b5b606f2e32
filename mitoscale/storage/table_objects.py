"""Files of tables in an object store, read in as few requests as can be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from mitoscale.storage.object_store import look
from mitoscale.storage.table_index import NoFileError, Places, index_in, index_size

Cut = Callable[[int, int], bytes]
"""Gives so many bytes from a place on."""


class _Fetched(NamedTuple):
    """What was read of an object."""

    version: bytes
    """Which state of it."""
    token: str
    places: Places
    whole: bytes | None
    """All of it, where that was read."""


_fetched: OrderedDict[str, _Fetched] = OrderedDict()
"""The objects read last: asking whether they have changed since is one request without an answer to wait for."""

_TAIL = 2**18
"""Bytes at the end of an object that are read first: most indices, and most tasks' own files, are shorter."""

_KEPT = 24  # a row of super-blocks of two stages; a stage's blocks go along x


def fetch(path: str, parts: int) -> tuple[str, Places, Cut]:
    """Token, places and parts of an object, which is read as a whole where it is small or several parts are wanted.

    Parameters
    ----------
    path : str
        Its address.
    parts : int
        How many parts are wanted.

    Raises
    ------
    UnfitFileError
        If it is missing or broken.
    """
    known = _fetched.get(path)
    if known is not None and parts > 1 and known.whole is None:
        known = None
    data, version = look(path, None if parts > 1 else slice(-_TAIL, None), known=known.version if known else None)
    if known is None or version != known.version:
        if data is None:
            raise NoFileError(f"{path} (there is no such object)")
        size, whole = index_size(data), parts > 1 or len(data) < _TAIL
        if size > len(data) and not whole:
            data = look(path, slice(-size, None)).data or b""
        known = _Fetched(version, *index_in(path, data), data if whole else None)
        if not whole or len(data) < _TAIL:
            _fetched[path] = known
            while len(_fetched) > _KEPT:
                with suppress(KeyError):  # another thread has just done so
                    _fetched.popitem(last=False)
    whole_of_it = known.whole

    def cut(at: int, size: int) -> bytes:
        if whole_of_it is not None:
            return whole_of_it[at : at + size]
        return (look(path, slice(at, at + size)).data or b"") if size else b""

    return known.token, known.places, cut
