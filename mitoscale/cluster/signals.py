"""Ctrl-C, SIGTERM and SIGHUP that cannot get lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. In a destructor, such as that of a Dask future, it
is printed and forgotten. So who handles many futures puts the signal off, and asks for it where it can be raised.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

POLL_SECONDS = 0.5
"""How long one may wait, having put the signal off, before asking for it."""

_put_off = threading.Event()
_remembered = threading.Event()


@contextmanager
def interruptible() -> Iterator[None]:
    """Treat SIGTERM, with which batch systems end a job, and SIGHUP, of a closed terminal, as Ctrl-C; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        first = not _remembered.is_set()
        _remembered.set()
        if not (_put_off.is_set() and first):  # a second signal does not wait
            raise KeyboardInterrupt

    # A process that was started to ignore one (in the background of a script, with nohup) goes on ignoring it.
    wanted = [s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, interrupt) for s in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _remembered.clear()


def put_off() -> None:
    """From now on the first signal is only remembered, until :func:`put_off_no_more`."""
    _put_off.set()


def put_off_no_more() -> None:
    """Signals raise KeyboardInterrupt again."""
    _put_off.clear()


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt where a signal was remembered."""
    if _remembered.is_set():
        raise KeyboardInterrupt


def pause(seconds: float) -> None:
    """Sleep; a signal that was put off ends it with KeyboardInterrupt."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        raise_if_interrupted()
        time.sleep(min(left, POLL_SECONDS))
