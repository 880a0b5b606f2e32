"""``RUN/mitoscale.log``: when each stage was worked on, how long, and each fault, for people; the ledgers are the truth."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from mitoscale.core.errors import StoppedError
from mitoscale.core.event import Event
from mitoscale.pipeline.observer import Observer, StageOutcome
from mitoscale.storage.addresses import is_remote


class LogFile(Observer):
    """Appends lines to a run's log; where nothing is computed it writes nothing, nor in an object store, which cannot append.

    Parameters
    ----------
    run : str
        The run folder.

    Raises
    ------
    StoppedError
        By all methods, if it cannot be written, as on a full disk.
    """

    def __init__(self, run: str) -> None:
        self._path = None if is_remote(run) else Path(run, "mitoscale.log")
        self._begins: dict[str, str] = {}

    def stage_started(self, name: str, total: int, done: Collection[str]) -> None:
        """See :class:`Observer`."""
        self._begins[name] = f"{name} begins, {len(done)} of {total} tasks are done"

    def task_done(self, name: str, task: str, voxels: float) -> None:
        """See :class:`Observer`."""
        self._say_begin(name)

    def happened(self, event: Event) -> None:
        """See :class:`Observer`."""
        self._say_begin(event.stage)
        words = (event.kind, event.stage, event.task, event.worker, *event.detail.splitlines()[:1])
        self._write(" ".join(filter(None, words)))

    def stage_finished(self, outcome: StageOutcome) -> None:
        """See :class:`Observer`."""
        if not outcome.computed and not outcome.quarantined:
            return
        lost = f", {len(outcome.quarantined)} given up" if outcome.quarantined else ""
        self._write(f"{outcome.name} ends, {outcome.computed} of {outcome.tasks} tasks computed{lost}, {outcome.seconds:.1f} s")

    def _say_begin(self, name: str) -> None:
        """Only once a task was done or has failed: starting a finished run again changes nothing."""
        line = self._begins.pop(name, "")
        if line:
            self._write(line)

    def _write(self, line: str) -> None:
        if self._path is None:  # the events in the ledger tell the same
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
        except OSError as error:
            raise StoppedError(f"cannot write {self._path} ({error.strerror}): free space, then start again") from error
