"""Colours of the page, told apart by those who are colour-blind, in print, and by their lightness alone."""

from __future__ import annotations

from collections.abc import Sequence

from mitoscale.dashboard.board import State

WAITING = "#e3e3e3"
"""Nothing done."""

STAGES = ("#d9efb4", "#a3dbb7", "#58bfc0", "#2a93c0", "#2560a8", "#1b2a6b")
"""Done up to a stage: the later, the darker."""

RUNNING, RETRYING, QUARANTINED = "#f0a30a", "#d6336c", "#000000"
"""States that stand out of the stages' colours."""


class Legend:
    """Codes of a map's cells: 0 waiting, then one a stage, then partly done, running, retrying, quarantined.

    Parameters
    ----------
    stages : sequence of str
        Names of the stages that have tasks, in order.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self.stages = tuple(stages)
        first = len(self.stages) + 1
        self._codes = {
            State.waiting: 0,
            State.partly: first,
            State.running: first + 1,
            State.retrying: first + 2,
            State.quarantined: first + 3,
        }

    @property
    def names(self) -> list[str]:
        """What each code means."""
        done = [f"{name} done" for name in self.stages]
        return ["waiting", *done, "partly done", "sent to a worker", "failed, to be tried again", "quarantined"]

    @property
    def palette(self) -> list[str]:
        """The colour of each code."""
        return [WAITING, *map(self.of_stage, self.stages), "#bdbdbd", RUNNING, RETRYING, QUARANTINED]

    def of_stage(self, name: str) -> str:
        """The colour of a stage; stages without tasks are grey."""
        return STAGES[self.stages.index(name) % len(STAGES)] if name in self.stages else "#888888"

    def code(self, state: State, stage: str) -> int:
        """The code of a state in a stage.

        Parameters
        ----------
        state : State
            State of a cell.
        stage : str
            Stage it is in.
        """
        return self.stages.index(stage) + 1 if state == State.done else self._codes[state]
