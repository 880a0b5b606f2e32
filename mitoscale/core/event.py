"""What happened to a run besides work that was done: each fault, and how it ended."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal[
    "worker joined",
    "worker lost",
    "raised",
    "taken back",
    "damaged",
    "quarantined",
    "healed",
    "stopped",
    "started",
    "ended",
]
"""``taken back``: a task whose workers died too often runs alone from then on. ``healed``: done after all."""


class Event(BaseModel):
    """One line of a run's log of events.

    Examples
    --------
    >>> Event(kind="raised", stage="detect", task="z000_y000_x000", detail="OSError: stale file handle").kind
    'raised'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    """What happened."""
    stage: str = ""
    """The stage at work."""
    task: str = ""
    """The task concerned: a block's or a face's name."""
    attempt: int = 0
    """Which attempt of the task it was, counted from 1."""
    worker: str = ""
    """Address of the worker."""
    detail: str = ""
    """One line more."""
    time: float = Field(default_factory=time.time)
    """Seconds since 1970."""


def ignore(event: Event) -> None:
    """Do nothing with an event."""
