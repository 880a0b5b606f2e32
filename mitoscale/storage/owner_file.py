"""A file that tells which process owns something, where file locks cannot: made exclusively, and renewed all the time.

It holds host and process. A process that is gone from this machine, or whose file nobody has renewed for long, owns nothing
any more. One that stood still so long that another took over is interrupted when it goes on.
"""

from __future__ import annotations

import _thread
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mitoscale.core.errors import InputError, StoppedError

BEAT_SECONDS = 15.0
"""How often an owner renews its file."""

STALE_SECONDS = 180.0
"""A file that was renewed longer ago belongs to nobody."""

_log = logging.getLogger(__name__)


@contextmanager
def owned(path: Path, busy: str) -> Iterator[None]:
    """Own a file meanwhile; it is removed at the end.

    Parameters
    ----------
    path : Path
        The file, in a folder that is there.
    busy : str
        What to say where another process owns it; its host and process are added.

    Raises
    ------
    InputError
        With ``busy``.
    StoppedError
        If the file cannot be made.
    """
    own = json.dumps({**this_process(), "token": uuid.uuid4().hex}, indent=1)
    _claim(path, own, busy)
    stop = threading.Event()
    beat = threading.Thread(target=_renew, args=(path, own, stop), daemon=True, name="owner-file")
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if _text(path) == own:
            with suppress(OSError):
                path.unlink()


def is_owned(path: Path) -> bool:
    """Whether a process owns a file, as far as this machine's clock tells."""
    text = _text(path)
    return text is not None and _is_alive(path, text, time.time())


def _claim(path: Path, own: str, busy: str) -> None:
    """Make the file, or take the place of an owner that is gone."""
    for _ in range(3):
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as file:
                file.write(own)
                file.flush()
                os.fsync(file.fileno())
            return
        except FileExistsError:
            text = _text(path)
            if text is None:
                continue
            if _is_alive(path, text, _time_there(path)):
                break
            _set_aside(path, text)
        except OSError as error:
            raise StoppedError(
                f"cannot write {path}: {error.strerror}; free or repair the disk, then repeat the command"
            ) from error
    owner = content_of(_text(path) or "")
    raise InputError(f"{busy} (host {owner.get('host', 'unknown')}, process {owner.get('pid', 'unknown')})")


def _set_aside(path: Path, stale: str) -> None:
    """Remove the file of an owner that is gone; where another has just done so and made its own, that one is put back."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _text(aside) != stale:
            with suppress(OSError):
                os.link(aside, path)
        aside.unlink()


def _is_alive(path: Path, text: str, now: float) -> bool:
    if is_gone(content_of(text)):
        return False
    with suppress(FileNotFoundError):
        return now - path.stat().st_mtime < STALE_SECONDS
    return False


def _renew(path: Path, own: str, stop: threading.Event) -> None:
    while not stop.wait(BEAT_SECONDS):
        text = _text(path)
        if text is not None and text != own:
            _log.error("this process stood still for so long that another owns %s now; it ends", path)
            _thread.interrupt_main()
            return
        with suppress(OSError):  # the disk may be away for a moment
            os.utime(path)


def _time_there(path: Path) -> float:
    """What time it is by the clock of the file server."""
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()


def _processes() -> str:
    """Tells machines and containers apart whose processes have the same numbers."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _text(path: Path) -> str | None:
    """What a file holds; None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def this_process() -> dict[str, object]:
    """What tells this process from others."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "processes": _processes()}


def is_gone(owner: Mapping[str, object]) -> bool:
    """Whether an owner was a process of this machine, and there is no such process any more."""
    if owner.get("host") != socket.gethostname() or owner.get("processes") != _processes():
        return False
    try:
        os.kill(int(str(owner["pid"])), 0)
    except (ProcessLookupError, ValueError, KeyError):
        return True
    except OSError:
        pass  # another user's
    return False


def content_of(text: str) -> dict[str, object]:
    """What an owner has told of itself; empty where that is damaged."""
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}
