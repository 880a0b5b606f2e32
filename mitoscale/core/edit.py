"""A correction that a person made: who, when, what, and where in nm, so that it can be made again on other labels."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from mitoscale.core.drawing import Drawing
from mitoscale.core.geometry import Spacing

Kind = Literal["merge", "split", "delete", "accept", "add", "draw", "undo"]
"""Join objects; cut one in two; remove; say that it is right; add what was missed, by the foreground or by SAM; take an earlier
correction back."""


class ObjectPlace(BaseModel):
    """An object as it was when somebody corrected it, told by places: labels change when a run is done again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: int
    """What it was called."""
    voxels: int
    """How large it was."""
    inside_nm: tuple[Spacing, ...]
    """Places (z, y, x) within it, spread over all of it."""


class Edit(BaseModel):
    """One line of ``edits.jsonl``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Name of the correction, by which it is undone."""
    who: str
    """Login name."""
    time: float
    """Seconds since 1970."""
    volume: str
    """Fingerprint of the volume that was corrected."""
    kind: Kind
    """What was done."""
    objects: tuple[ObjectPlace, ...] = ()
    """With which objects; the first gives a merged one its label."""
    points_nm: tuple[Spacing, ...] = ()
    """Places (z, y, x) that were pointed at: two of a split, one of what was added or drawn."""
    drawing: Drawing | None = None
    """What SAM drew."""
    undoes: str = ""
    """The correction that is taken back."""

    def line(self) -> str:
        """Its line, without what it does not have: lines of a kind stay the same when other kinds get more fields."""
        return self.model_dump_json(exclude_none=True)


def in_force(edits: list[Edit]) -> list[Edit]:
    """The corrections that were not taken back, in their order.

    Examples
    --------
    >>> common = dict(who="a", time=0.0, volume="v")
    >>> first, second = (Edit(id=name, kind="delete", **common) for name in "ab")
    >>> [edit.id for edit in in_force([first, second, Edit(id="c", kind="undo", undoes="a", **common)])]
    ['b']
    """
    undone = {edit.undoes for edit in edits if edit.kind == "undo"}
    return [edit for edit in edits if edit.kind != "undo" and edit.id not in undone]
