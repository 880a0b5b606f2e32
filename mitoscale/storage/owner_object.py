"""An object that tells which process owns something in an object store: made and renewed by conditional writes.

It holds host, process and the time it was renewed. A process that is gone from this machine, or whose object nobody has renewed for
long, owns nothing any more. One that stood still so long that another took over is interrupted when it goes on.
"""

from __future__ import annotations

import _thread
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.object_store import look, put_if
from mitoscale.storage.owner_file import BEAT_SECONDS, STALE_SECONDS, content_of, is_gone, this_process

_log = logging.getLogger(__name__)


@contextmanager
def owned_object(address: str, busy: str) -> Iterator[None]:
    """Own an object meanwhile; it is removed at the end.

    Parameters
    ----------
    address : str
        The object.
    busy : str
        What to say where another process owns it; its host and process are added.

    Raises
    ------
    InputError
        With ``busy``.
    StoppedError
        If the store cannot be written.
    """
    owner = _Owner(address)
    _tokens.add(owner.token)
    stop = threading.Event()
    beat = threading.Thread(target=owner.renew_until, args=(stop,), daemon=True, name="owner-object")
    try:
        owner.claim(busy)
        beat.start()
        yield
    finally:
        stop.set()
        _tokens.discard(owner.token)
        if beat.is_alive():
            beat.join()
        if owner.version:
            with suppress(StoppedError):  # what stays is nobody's soon
                put_if(address, None, owner.version)


_tokens: set[str] = set()
"""Of what this process owns: it may have been unable to remove what it owned before."""


def is_owned(address: str) -> bool:
    """Whether a process owns an object, as far as this machine's clock tells."""
    return _is_alive(_told(look(address).data))


class _Owner:
    """This process as the owner of an object."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.token = uuid.uuid4().hex
        self.version = b""

    def claim(self, busy: str) -> None:
        """Make the object, or take the place of an owner that is gone."""
        for _ in range(3):
            data, version = look(self._address)
            owner = _told(data)
            if _is_alive(owner):
                raise InputError(f"{busy} (host {owner.get('host', 'unknown')}, process {owner.get('pid', 'unknown')})")
            if data is not None and not _is_gone(owner):  # clocks may differ: wait for a beat
                time.sleep(2 * BEAT_SECONDS)
            if self._write(version):
                return
        raise InputError(busy)

    def renew_until(self, stop: threading.Event) -> None:
        """Renew the object all the time; the main thread is interrupted where another owns it."""
        while not stop.wait(BEAT_SECONDS):
            with suppress(StoppedError):  # the store may be away for a moment
                if not self._write(self.version):
                    _log.error("this process stood still for so long that another owns %s now; it ends", self._address)
                    _thread.interrupt_main()
                    return

    def _write(self, version: bytes) -> bool:
        """Write the object while it is of a version; whether it is ours then."""
        text = json.dumps({**this_process(), "token": self.token, "renewed": time.time()}, indent=1)
        written = put_if(self._address, text.encode(), version)
        if written is None:  # refused, or done though the store said it failed, and refused when it was tried again
            data, found = look(self._address)
            written = found if _told(data).get("token") == self.token else None
        if written is not None:
            self.version = written
        return written is not None


def _told(data: bytes | None) -> dict[str, object]:
    """What an owner has told of itself; empty where there is none, or it is damaged."""
    return content_of((data or b"").decode(errors="replace"))


def _is_alive(owner: Mapping[str, object]) -> bool:
    return not _is_gone(owner) and time.time() - float(str(owner.get("renewed", 0))) < STALE_SECONDS


def _is_gone(owner: Mapping[str, object]) -> bool:
    if this_process().items() <= owner.items():
        return owner.get("token") not in _tokens
    return is_gone(owner)
