"""The protocol of all kinds that are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mitoscale.export.exported import Content


def nothing_to_check(content: Content) -> None:
    """For kinds that hold whatever a run has."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind."""

    name: str
    """What ``--kind`` calls it."""
    endings: tuple[str, ...]
    """Endings of names that mean it, the longest first."""
    write: Callable[[Content, str], None]
    """Writes a file or a folder under a name that is free; raises InputError, StoppedError or BlockError."""
    check: Callable[[Content], None] = nothing_to_check
    """Raises InputError where the kind cannot hold the content, before anything is written."""
    labels: bool = True
    """Whether it holds labels, so that it needs them finished; else a table alone."""
    objects: bool = False
    """Whether it holds the table of objects beside the labels, so that it needs them measured."""
    folder: bool = False
    """Whether it is a folder, behind whose name a slash may stand."""
    renumbers: bool = False
    """Whether its labels may be numbered anew, because they have few bits."""
