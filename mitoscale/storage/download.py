"""A file from the web: resumed where a transfer broke off, and kept only where its MD5 sum is the promised one."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.layout import free_bytes

Progress = Callable[[int, int | None], None]
"""Hears of bytes that are here, and of all there are where the server tells."""

_CHUNK = 1 << 20
_TIMEOUT = 60.0
"""Seconds of silence after which a transfer counts as broken."""


def download(url: str, path: Path, *, md5: str, progress: Progress = lambda here, total: None, attempts: int = 3) -> Path:
    """Fetch a file, unless it is there already.

    What has arrived lies in ``path`` + ``.part``; the next attempt, or the next call, asks for the rest alone.

    Parameters
    ----------
    url : str
        http, https or file.
    path : Path
        Where it goes; the folder is made.
    md5 : str
        The MD5 sum or its beginning, hex.
    progress : callable
        Hears of each megabyte.
    attempts : int
        How often the server is asked before giving up; an attempt that brought something does not count.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    InputError
        If there is no such file, another process fetches it, the disk is too small, or its MD5 sum is another one (it is removed).
    StoppedError
        If the transfer broke off again and again, or the disk is full; the same call goes on from there.
    """
    if path.is_file():
        _verify(path, md5, url)
        return path
    part = path.with_name(path.name + ".part")
    with _held(part) as file:
        tries = 0
        while True:
            before = os.path.getsize(part)
            try:
                _fetch(url, file, part, progress)
                break
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
                _check_worth_trying(error, url)
                tries = 1 if os.path.getsize(part) > before else tries + 1
                if tries >= attempts:
                    raise StoppedError(
                        f"download of {url} broke off at {os.path.getsize(part)} bytes ({_reason(error)}); "
                        "the same command goes on from there"
                    ) from error
            except OSError as error:
                raise StoppedError(
                    f"cannot write {part}: {error.strerror or error}; free the disk, then repeat the command"
                ) from error
        _verify(part, md5, url)
        os.replace(part, path)
    return path


@contextmanager
def _held(part: Path) -> Iterator[IO[bytes]]:
    """The unfinished file, open for appending; two processes that append to it would destroy it."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab")
    except OSError as error:
        raise InputError(f"cannot write {part} ({error.strerror}); set MITOSCALE_CACHE to a folder that can be written") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is downloading {part}; wait for it, or stop it") from None
        try:
            yield file
        finally:
            if part.is_file() and not part.stat().st_size:
                part.unlink()


def _fetch(url: str, file: IO[bytes], part: Path, progress: Progress) -> None:
    """Append what is missing; raises ConnectionError where the server stops early."""
    here = os.path.getsize(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={here}-"} if here else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and here:  # nothing is left to send: it is all here, or it is another file
            return
        raise
    with answer:
        if here and getattr(answer, "status", None) != 206:  # the server sends all of it again
            file.truncate(0)
            here = 0
        length = answer.headers.get("Content-Length")
        total = here + int(length) if length else None
        if total is not None and total - here > free_bytes(str(part)):
            raise InputError(f"{url} needs {(total - here) / 1e6:.0f} MB more than there is beside {part}; free the disk")
        progress(here, total)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            file.flush()
            here += len(chunk)
            progress(here, total)
    if total is not None and here < total:
        raise ConnectionError(f"{total - here} bytes are missing")


def _check_worth_trying(error: Exception, url: str) -> None:
    """Raise where the next attempt would fail in the same way."""
    if isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500 and error.code not in (408, 429):
        raise InputError(f"{url} cannot be had: the server says {error.code} {error.reason}; correct the address") from error
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, FileNotFoundError):
        raise InputError(f"{url} cannot be had: there is no such file; correct the address") from error


def _reason(error: Exception) -> str:
    what: Any = getattr(error, "reason", None) or error
    return str(what) or type(error).__name__


def _verify(path: Path, md5: str, url: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if not found.startswith(md5):
        path.unlink()
        raise InputError(
            f"{path} from {url} has the MD5 sum {found}, its name promises {md5}: it was removed; "
            "download it again, and where that does not help ask who keeps that server"
        )
