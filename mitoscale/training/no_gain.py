"""The verdict that what was learnt is no gain."""

from __future__ import annotations

from mitoscale.core.errors import InputError


class NoGainError(InputError):
    """What was learnt is no better than what it started from, so it was not written.

    Parameters
    ----------
    finding : str
        What the scores are.
    cure : str
        What to do.
    """

    def __init__(self, finding: str, cure: str) -> None:
        super().__init__(finding, cure)  # all arguments, so that the error can be pickled
        self.finding = finding
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.finding}; {self.cure}"
