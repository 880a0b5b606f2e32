"""The ledger of a stage: one JSON line for each task that is done, appended by the one client.

The data of a task is durable before its line is written, so a task without a line is simply done again.
A line also says what the task read: the digest of its inputs. Where they have changed since, the task is done again too.
A line cut off by a crash is ignored, and mended at the next append.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mitoscale.core.errors import StoppedError
from mitoscale.core.result import BlockResult
from mitoscale.storage.lines import Appended, appended, forget_lines, lines_from_the_end, lines_of, version_of


def last_line(error: str) -> str:
    """What a traceback ends with, in one line; of an error of ours the message alone.

    Examples
    --------
    >>> last_line("Traceback ...\\nmitoscale.core.errors.BlockError: too few slices\\n"), last_line("KeyError: 3")
    ('too few slices', 'KeyError: 3')
    """
    line = (error.strip().splitlines() or [""])[-1]
    return re.sub(r"^mitoscale\.[\w.]+: ", "", line)


class LedgerEntry(BaseModel):
    """One line of a ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The block's name."""
    token: str
    """Token of the settings the block was computed with."""
    state: str = "done"
    """``done``, ``quarantined`` (given up), ``damaged`` (its data was found missing or broken later), or, of a closing
    line, ``open`` (the stage was begun again since)."""
    attempt: int = 1
    """Which attempt it was."""
    checksum: str = ""
    """Digest of what other blocks read from this one."""
    inputs: str = ""
    """Digest of what the task read: of the checksums of earlier tasks."""
    counts: dict[str, float] = Field(default_factory=dict)
    """Small additive numbers."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Time in read, compute and write."""
    error: str = ""
    """The traceback of a quarantined block."""
    time: float = 0.0
    """Seconds since 1970 when the line was written."""


class Ledger:
    """Reads and appends to the ledger of one stage.

    Parameters
    ----------
    path : str
        The ``.jsonl`` file, or in an object store the folder of its segments.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lines: Appended | None = None

    def entries(self, token: str) -> dict[str, LedgerEntry]:
        """The latest entry of each block that was computed with ``token``."""
        return {entry.name: entry for entry in self.lines(token)}

    def lines(self, token: str) -> Iterator[LedgerEntry]:
        """Every entry that was written with ``token``, oldest first; of several with one name the last counts."""
        return _parsed(lines_of(self.path), token)

    def latest(self, token: str) -> Iterator[LedgerEntry]:
        """The latest entry of each name that was written with ``token``, the newest first; of all only the names are held."""
        seen: set[str] = set()
        for entry in _parsed(lines_from_the_end(self.path), token):
            if entry.name not in seen:
                seen.add(entry.name)
                yield entry

    def last(self, name: str, token: str) -> LedgerEntry | None:
        """The latest entry with a name and a token; what was found is remembered until the file changes.

        Parameters
        ----------
        name : str
            Name of a task.
        token : str
            Settings it was done with.
        """
        return _last(self.path, name, token, self.version())

    def version(self) -> tuple[object, ...]:
        """Tells the file's states apart, without reading it: each line that is appended changes it. Empty where there is none."""
        return version_of(self.path)

    def append(
        self,
        result: BlockResult,
        *,
        token: str,
        attempt: int = 1,
        state: str = "done",
        error: str = "",
        inputs: str = "",
    ) -> None:
        """Add a line; it is on disk within a second, and when the ledger is closed.

        Parameters
        ----------
        result : BlockResult
            What the task returned.
        token : str
            Settings it was done with.
        attempt : int
            How often it was tried.
        state : str
            What became of it.
        error : str
            Why, where it failed.
        inputs : str
            Digest of what it was done from.

        Raises
        ------
        StoppedError
            If it cannot be written, as on a full disk.
        """
        entry = LedgerEntry(
            name=result.name,
            token=token,
            state=state,
            attempt=attempt,
            checksum=result.checksum,
            inputs=inputs,
            counts=result.counts,
            seconds={k: round(v, 4) for k, v in result.seconds.items()},
            error=error,
            time=round(time.time(), 3),
        )
        try:
            if self._lines is None:
                self._lines = appended(self.path)
            self._lines.add(entry.model_dump_json().encode())
        except OSError as problem:
            raise StoppedError(f"cannot write {self.path} ({problem.strerror}): free space, then start again") from problem

    def close(self) -> None:
        """Bring everything to disk; raises what :meth:`append` does."""
        if self._lines is None:
            return
        lines, self._lines = self._lines, None
        try:
            lines.close()
        except OSError as problem:
            raise StoppedError(f"cannot write {self.path} ({problem.strerror}): free space, then start again") from problem

    def invalidate(self) -> None:
        """Forget everything: the stage runs again."""
        self.close()
        forget_lines(self.path)


@lru_cache(maxsize=256)
def _last(path: str, name: str, token: str, version: tuple[object, ...]) -> LedgerEntry | None:
    """As :meth:`Ledger.last`; other lines are not parsed. ``version`` tells the file's states apart."""
    mark = f'"name":"{name}"'.encode()
    found = _parsed((line for line in lines_from_the_end(path) if mark in line), token)
    return next((entry for entry in found if entry.name == name), None)


def _parsed(lines: Iterable[bytes], token: str) -> Iterator[LedgerEntry]:
    """The entries that were written with a token."""
    for line in lines:
        with suppress(ValidationError):  # a line cut off by a crash: its block is computed again
            entry = LedgerEntry.model_validate_json(line)
            if entry.token == token:
                yield entry
