"""Lines in an object store, which cannot append: segments of them, of which the last is put again as it grows.

One process appends. Lines are put together about once a second, so a process that is killed loses those of its last second at
most; a segment is whole or not there, so no line is ever cut off.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from threading import Lock, RLock, Timer

from mitoscale.core.errors import StoppedError
from mitoscale.storage.addresses import join
from mitoscale.storage.object_store import look, put_if
from mitoscale.storage.stored_files import names_in, read, remove_tree

_ENDING = ".jsonl"
_PUT_SECONDS = 1.0
_LARGEST = 2**18
"""Bytes from which on a segment is followed by another."""


class Segments:
    """The lines that this process appends under an address. Get them from :meth:`of`.

    Parameters
    ----------
    address : str
        What the segments' names begin with.
    """

    _of_this_process: dict[str, Segments] = {}  # noqa: RUF012 - what they hold must be seen by whoever reads here
    _lock = Lock()

    def __init__(self, address: str) -> None:
        self._address = address
        names = _names(address)
        self._number = int(names[-1].removesuffix(_ENDING)) if names else 0
        data, self._version = look(join(address, _name(self._number)))
        self._text = data or b""
        self._put_at = 0.0
        self._whole = True
        self._busy = RLock()
        self._timer: Timer | None = None

    @classmethod
    def of(cls, address: str) -> Segments:
        """Those of an address, the same ones until they are closed."""
        with cls._lock:
            if address not in cls._of_this_process:
                cls._of_this_process[address] = cls(address)
            return cls._of_this_process[address]

    def add(self, line: bytes) -> None:
        """Append a line, without its end."""
        with self._busy:
            if len(self._text) >= _LARGEST:
                self.put()
                self._number, self._text = self._number + 1, b""
                self._version = look(join(self._address, _name(self._number))).version
            self._text += line + b"\n"
            self._whole = False
            if time.monotonic() - self._put_at > _PUT_SECONDS:
                self.put()
            elif self._timer is None:
                self._timer = Timer(_PUT_SECONDS, self._put_later)
                self._timer.daemon = True
                self._timer.start()

    def put(self) -> None:
        """Put what is not there yet.

        Raises
        ------
        StoppedError
            If the store cannot be written, or another process appends too: nothing of its lines is written over.
        """
        with self._busy:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not self._whole:
                self._put_last()
                self._whole, self._put_at = True, time.monotonic()

    def _put_last(self) -> None:
        last = join(self._address, _name(self._number))
        version = put_if(last, self._text, self._version)
        if version is None:  # or it is there though the store said it failed, and was refused when it was tried again
            data, version = look(last)
            if data != self._text:
                raise StoppedError(
                    f"another process writes to {self._address}; wait for its end, then start the same command again"
                )
        self._version = version

    def _put_later(self) -> None:
        with suppress(StoppedError):  # whoever puts next is told
            self.put()

    def close(self) -> None:
        """Put the last lines; who appends next looks anew at what is there."""
        with self._lock:
            self._of_this_process.pop(self._address, None)
        self.put()

    def forget(self) -> None:
        """Remove all lines."""
        with self._lock:
            self._of_this_process.pop(self._address, None)
        with self._busy:
            self._whole = True
            remove_tree(self._address)


def segments_of(address: str, *, from_the_end: bool = False) -> Iterator[bytes]:
    """Each segment, with what this process has appended.

    Parameters
    ----------
    address : str
        What their names begin with.
    from_the_end : bool
        The last one first.
    """
    _put_own(address)
    names = _names(address)
    for name in reversed(names) if from_the_end else names:
        yield read(join(address, name)) or b""


def segments_version(address: str) -> tuple[object, ...]:
    """Tells the states of lines apart."""
    _put_own(address)
    names = _names(address)
    return (len(names), look(join(address, names[-1]), slice(0, 1)).version) if names else ()


def _put_own(address: str) -> None:
    own = Segments._of_this_process.get(address)
    if own is not None:
        own.put()


def _names(address: str) -> list[str]:
    return sorted(name for name in names_in(address) if name.endswith(_ENDING))


def _name(number: int) -> str:
    return f"{number:06d}{_ENDING}"
