"""Who hears how a run goes on."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mitoscale.core.event import Event

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """How a stage ended."""

    name: str
    """The stage."""
    tasks: int
    """All its tasks."""
    computed: int
    """Tasks done now; the others were done earlier."""
    quarantined: tuple[str, ...] = ()
    """Tasks given up after several failures."""
    damaged: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Stage and name of earlier tasks whose results were found missing or broken -> what was found; the stage is not
    finished then."""
    seconds: float = 0.0
    """Wall time now."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the stage counted."""


class Observer:
    """Hears how a run goes on, and does nothing; derived classes override what they want to hear."""

    def stage_started(self, name: str, total: int, done: Collection[str]) -> None:
        """A stage begins, or begins again; of its ``total`` tasks, those in ``done`` were done earlier.

        Parameters
        ----------
        name : str
            Name of the stage.
        total : int
            Number of its tasks.
        done : collection of str
            Tasks that were done earlier.
        """

    def task_done(self, name: str, task: str, voxels: float) -> None:
        """A task of a stage has returned.

        Parameters
        ----------
        name : str
            Name of the stage.
        task : str
            Name of the task.
        voxels : float
            Voxels of its core.
        """

    def happened(self, event: Event) -> None:
        """Something went wrong, or was mended."""

    def stage_finished(self, outcome: StageOutcome) -> None:
        """A stage is done."""


class Audience(Observer):
    """Tells several observers. One that fails is told no more; the run goes on.

    Parameters
    ----------
    *observers : Observer
        Told in this order.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def stage_started(self, name: str, total: int, done: Collection[str]) -> None:
        """See :class:`Observer`.

        Parameters
        ----------
        name : str
            Name of the stage.
        total : int
            Number of its tasks.
        done : collection of str
            Tasks that were done earlier.
        """
        self._tell("stage_started", name, total, done)

    def task_done(self, name: str, task: str, voxels: float) -> None:
        """See :class:`Observer`.

        Parameters
        ----------
        name : str
            Name of the stage.
        task : str
            Name of the task.
        voxels : float
            Voxels of its core.
        """
        self._tell("task_done", name, task, voxels)

    def happened(self, event: Event) -> None:
        """See :class:`Observer`."""
        self._tell("happened", event)

    def stage_finished(self, outcome: StageOutcome) -> None:
        """See :class:`Observer`."""
        self._tell("stage_finished", outcome)

    def _tell(self, what: str, *words: Any) -> None:
        for observer in tuple(self._observers):
            try:
                getattr(observer, what)(*words)
            except Exception:
                self._observers.remove(observer)
                _log.exception("%s failed and hears no more of this run", type(observer).__name__)
