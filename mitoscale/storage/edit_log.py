"""``edits.jsonl``: a run's corrections, one JSON line each, appended by one editor at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from mitoscale.core.edit import Edit
from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.exclusive import exclusively
from mitoscale.storage.lines import lines_of, open_to_append


class EditLog:
    """Reads and appends to a run's corrections.

    Parameters
    ----------
    run : str
        The run folder.
    volume : str
        Fingerprint of its volume: corrections of another one are refused.

    Raises
    ------
    InputError
        If it lies in an object store.
    """

    def __init__(self, run: str, volume: str) -> None:
        if is_remote(run):
            raise InputError(f"corrections are kept with runs on a disk; copy {run} to a folder first")
        self.path = Path(run, "edits.jsonl")
        self._volume = volume
        self._lock = Path(run, ".edits.lock")

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Be the only editor meanwhile.

        Raises
        ------
        InputError
            If there is another one, or the folder is read-only.
        """
        folder = self.path.parent
        target = self.path if self.path.exists() else folder
        if not os.access(folder, os.W_OK) or not os.access(target, os.W_OK):
            raise InputError(f"{folder} is read-only: it can be looked at, but corrections are kept in it; make it writable")
        with exclusively(self._lock, f"somebody else is correcting {folder} now; wait until they are done"):
            yield

    def read(self) -> list[Edit]:
        """All corrections, oldest first; a last line that a crash cut off is passed over.

        Raises
        ------
        InputError
            If a line is damaged, or was made on another volume.
        """
        found: list[Edit] = []
        lines = list(lines_of(str(self.path)))
        whole = not lines or self.path.read_bytes().endswith(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                edit = Edit.model_validate_json(line)
            except ValidationError as error:
                if number == len(lines) and not whole:
                    break
                problem = error.errors()[0]["msg"]
                raise InputError(
                    f"{self.path} line {number} is no correction ({problem}): remove that line, or restore it"
                ) from error
            if edit.volume != self._volume:
                raise InputError(f"{self.path} line {number} was made on another volume; give the run its own corrections")
            found.append(edit)
        return found

    def append(self, edit: Edit) -> None:
        """Add a line; it is on the disk once this returns. The caller is :meth:`editing`.

        Raises
        ------
        StoppedError
            If it cannot be written, as on a full disk.
        """
        try:
            self._cut_off_half_a_line()
            with open_to_append(self.path) as file:
                file.write(edit.line().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoppedError(f"cannot write {self.path} ({error.strerror}): free space, then correct it again") from error

    def _cut_off_half_a_line(self) -> None:
        """What a crash left unfinished was never answered for: the next line must not follow half a one."""
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)
