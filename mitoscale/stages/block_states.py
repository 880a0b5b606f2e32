"""What became of each block in segment: done, empty, given up, missing, or not asked for are five different things."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum

import numpy as np

from mitoscale.core.grid import Block, index_of
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
    """What became of each block, from the ledger of segment; one byte a block.

    Parameters
    ----------
    plan : RunPlan
        The run.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._grid = plan.grid
        self.codes = np.full(len(plan.grid), _CODES[BlockState.MISSING], np.uint8)
        """(blocks,) uint8: by number the place of each block's state in :class:`BlockState`."""
        for entry in Ledger(RunFolder(plan.run).ledger("segment")).lines(plan.settings.token("segment")):
            with suppress(ValueError):  # a closing line
                self.codes[self._grid.number(index_of(entry.name))] = _CODES[_state(entry)]

    def of(self, block: Block) -> BlockState:
        """The state of a block."""
        if not self._grid.contains(block.index):
            return BlockState.SKIPPED
        return self.numbered(self._grid.number(block.index))

    def numbered(self, number: int) -> BlockState:
        """The state of the block with a number."""
        return _STATES[self.codes[number]]

    def unknown(self, low: int, high: int) -> BlockState | None:
        """Why nobody knows what goes on across a face; None where both blocks are done.

        Parameters
        ----------
        low, high : int
            Numbers of the blocks beside it.
        """
        for number in (low, high):
            if (state := self.numbered(number)) in (BlockState.GIVEN_UP, BlockState.MISSING):
                return state
        return None


_STATES = tuple(BlockState)
_CODES = {state: code for code, state in enumerate(_STATES)}


def _state(entry: LedgerEntry) -> BlockState:
    if entry.state != "done":
        return BlockState.GIVEN_UP
    return BlockState.SEGMENTED if entry.counts.get("fragments") else BlockState.EMPTY
