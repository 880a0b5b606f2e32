"""What became of each block in segment: done, empty, given up, missing, or not asked for are five different things."""

from __future__ import annotations

from enum import StrEnum

from mitoscale.core.grid import Block, Face
from mitoscale.core.plan import RunPlan
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger, LedgerEntry


class BlockState(StrEnum):
    """What became of a block in segment."""

    SEGMENTED = "segmented"
    """It has fragments."""
    EMPTY = "empty"
    """It was done, and nothing is in it."""
    GIVEN_UP = "given up"
    """It failed again and again."""
    MISSING = "missing"
    """Nothing is known of it."""
    SKIPPED = "skipped"
    """It lies outside the region that was asked for."""


class BlockStates:
    """What became of each block, from the ledger of segment.

    Parameters
    ----------
    plan : RunPlan
        The run.
    """

    def __init__(self, plan: RunPlan) -> None:
        entries = Ledger(RunFolder(plan.run).ledger("segment")).latest(plan.settings.token("segment"))
        self._state = {entry.name: _state(entry) for entry in entries}
        self._grid = plan.grid

    def of(self, block: Block) -> BlockState:
        """The state of a block."""
        if not self._grid.contains(block.index):
            return BlockState.SKIPPED
        return self._state.get(block.name, BlockState.MISSING)

    def unknown(self, face: Face) -> BlockState | None:
        """Why nobody knows what goes on across a face; None where both blocks are done."""
        for block in (face.low, face.high):
            if self.of(block) in (BlockState.GIVEN_UP, BlockState.MISSING):
                return self.of(block)
        return None


def _state(entry: LedgerEntry) -> BlockState:
    if entry.state != "done":
        return BlockState.GIVEN_UP
    return BlockState.SEGMENTED if entry.counts.get("fragments") else BlockState.EMPTY
