"""What became of each block in segment: done, empty, given up, missing, or not asked for are five different things."""

from __future__ import annotations

from collections.abc import Callable
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
        self._codes = ledger_codes(plan, "segment", lambda entry: _CODES[_state(entry)], missing=_CODES[BlockState.MISSING])

    def of(self, block: Block) -> BlockState:
        """The state of a block."""
        if not self._grid.contains(block.index):
            return BlockState.SKIPPED
        return self.numbered(self._grid.number(block.index))

    def numbered(self, number: int) -> BlockState:
        """The state of the block with a number."""
        return _STATES[self._codes[number]]

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


def ledger_codes(plan: RunPlan, stage: str, code: Callable[[LedgerEntry], int], missing: int = 0) -> np.ndarray:
    """What became of each block in a stage, as a number.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        A stage whose tasks are blocks.
    code : callable
        Gives the number, 0 to 255, of a block's entry in the ledger; the last entry counts.
    missing : int
        Of blocks without an entry.

    Returns
    -------
    (blocks,) uint8
        By the blocks' numbers.
    """
    codes = np.full(len(plan.grid), missing, np.uint8)
    for entry in Ledger(RunFolder(plan.run).ledger(stage)).lines(plan.settings.token(stage)):
        with suppress(ValueError):  # no block: a closing line, or a shard of a coarser level
            codes[plan.grid.number(index_of(entry.name))] = code(entry)
    return codes


_STATES = tuple(BlockState)
_CODES = {state: code for code, state in enumerate(_STATES)}


def _state(entry: LedgerEntry) -> BlockState:
    if entry.state != "done":
        return BlockState.GIVEN_UP
    return BlockState.SEGMENTED if entry.counts.get("fragments") else BlockState.EMPTY
