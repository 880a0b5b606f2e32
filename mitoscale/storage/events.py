"""A run's log of events: one JSON line each, appended by the one client that works on the run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pydantic import ValidationError

from mitoscale.core.errors import StoppedError
from mitoscale.core.event import Event
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.lines import appended, lines_of, open_to_append


class EventLog:
    """Reads and appends to the log.

    Parameters
    ----------
    path : str
        The ``.jsonl`` file, or in an object store the folder of its segments.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def append(self, event: Event) -> None:
        """Add a line. Events are rare: the file is opened for each.

        Raises
        ------
        StoppedError
            If it cannot be written, as on a full disk.
        """
        try:
            line = event.model_dump_json().encode()
            if is_remote(self.path):
                with closing(appended(self.path)) as lines:
                    lines.add(line)
                return
            with open_to_append(Path(self.path)) as file:
                file.write(line + b"\n")
        except OSError as problem:
            raise StoppedError(f"cannot write {self.path} ({problem.strerror}): free space, then start again") from problem

    def read(self) -> list[Event]:
        """All events, oldest first; a line that a crash cut off is passed over."""
        found = []
        for line in lines_of(self.path):
            try:
                found.append(Event.model_validate_json(line))
            except ValidationError:
                continue
        return found
