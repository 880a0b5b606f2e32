"""A file from the web: resumed where a transfer broke off, and kept only where its digest is the promised one.

Where none is promised, the SHA-256 of the first download is recorded beside the file, and holds from then on.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import xxhash

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.atomic import replacing
from mitoscale.storage.exclusive import exclusively
from mitoscale.storage.layout import free_bytes

Progress = Callable[[int, int | None], None]
"""Hears of bytes that are here, and of all there are where the server tells."""

_CHUNK = 1 << 20
_TIMEOUT = 60.0
"""Seconds of silence after which a transfer counts as broken."""


def download(
    url: str,
    path: Path,
    *,
    digest: str,
    record: Path | None = None,
    progress: Progress = lambda here, total: None,
    attempts: int = 3,
) -> str:
    """Fetch a file, unless it is there already; a broken one is replaced.

    What has arrived lies in ``path`` + ``.part``; the next attempt, or the next call, asks for the rest alone.

    Parameters
    ----------
    url : str
        http, https or file.
    path : Path
        Where it goes; the folder is made.
    digest : str
        What is promised: ``md5:``, ``sha256:`` or ``xxh128:`` and the digest or its beginning, hex; empty: nothing but a zip.
    record : Path, optional
        Where nothing is promised: the SHA-256 of the first download is written there as ``sha256sum`` does, and holds from then on.
    progress : callable
        Hears of each megabyte.
    attempts : int
        How often the server is asked before giving up; an attempt that brought something does not count.

    Returns
    -------
    str
        What was promised, or now is: ``algorithm:hex``.

    Raises
    ------
    InputError
        If there is no such file, another process fetches it, the disk is too small, or its digest is another one (it is removed).
    StoppedError
        If the transfer broke off again and again, or the disk is full; the same call goes on from there.
    """
    promised = digest or _recorded(record)
    if path.is_file() and not _difference(path, promised):
        return _kept(path, promised, record)
    part = path.with_name(path.name + ".part")
    with _held(part) as file:
        resumed = os.path.getsize(part) > 0
        _fetch_all(url, file, part, progress, attempts)
        if resumed and _difference(part, promised):  # what was there before may be of another file
            file.truncate(0)
            _fetch_all(url, file, part, progress, attempts)
        difference = _difference(part, promised)
        if difference:
            part.unlink()
            first = f" by {record}, of the first download" if record and promised else ""
            raise InputError(
                f"{path.name} from {url} {difference}{first}: it was removed; download it again, and where that does not help "
                "ask who keeps that server"
            )
        try:
            os.replace(part, path)
        except OSError as error:
            raise StoppedError(f"cannot write {path}: {error.strerror}; free the disk, then repeat the command") from error
    return _kept(path, promised, record)


def _fetch_all(url: str, file: IO[bytes], part: Path, progress: Progress, attempts: int) -> None:
    """Ask until all of it is there, or nothing comes any more."""
    tries = 0
    while True:
        before = os.path.getsize(part)
        try:
            _fetch(url, file, part, progress)
            return
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            _check_worth_trying(error, url)
            tries = 1 if os.path.getsize(part) > before else tries + 1
            if tries >= attempts:
                raise StoppedError(
                    f"download of {url} broke off at {os.path.getsize(part)} bytes ({_reason(error)}); "
                    "the same command goes on from there"
                ) from error
        except OSError as error:
            raise StoppedError(f"cannot write {part}: {error.strerror or error}; free the disk, then repeat the command") from error


@contextmanager
def _held(part: Path) -> Iterator[IO[bytes]]:
    """The unfinished file, open for appending; two processes that append to it would destroy it."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab")
    except OSError as error:
        raise InputError(f"cannot write {part} ({error.strerror}); set MITOSCALE_CACHE to a folder that can be written") from error
    with file, exclusively(part.with_name(f"{part.name}.lock"), f"another process is downloading {part}; wait for it, or stop it"):
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


def _difference(path: Path, promised: str) -> str:
    """What is wrong with a file, in words; empty: nothing. Where nothing is promised, it must be a whole zip."""
    if not promised:
        return "" if _is_whole_zip(path) else "is no whole zip file, as TorchScript is"
    algorithm, _, wanted = promised.partition(":")
    found = _digest(path, algorithm)
    return "" if found.startswith(wanted) else f"has the {algorithm.upper()} digest {found}, {wanted} is promised"


def _is_whole_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError):
        return False


def _digest(path: Path, algorithm: str) -> str:
    hasher: Any = xxhash.xxh128() if algorithm == "xxh128" else hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return str(hasher.hexdigest())


def _recorded(record: Path | None) -> str:
    """What an earlier download recorded, as ``sha256:hex``; empty where there was none."""
    if record is None or not record.is_file():
        return ""
    words = record.read_text().split()
    return f"sha256:{words[0]}" if words else ""


def _kept(path: Path, promised: str, record: Path | None) -> str:
    """The digest of a file that is as promised; recorded where nothing was."""
    if promised:
        return promised
    found = _digest(path, "sha256")
    if record:
        with replacing(str(record)) as part:
            Path(part).write_text(f"{found}  {path.name}\n")
    return f"sha256:{found}"
