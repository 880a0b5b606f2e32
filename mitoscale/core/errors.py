"""The errors mitoscale raises on purpose, and the exit code each one ends the command line with.

::

    MitoscaleError
    ├── InputError      1  wrong input or settings; nothing was changed
    ├── StoppedError    4  stopped, but the run can be resumed (disk full, cluster lost)
    └── BlockError         one block failed; the run goes on without it and ends with 3
        └── DamagedError   what an earlier task wrote is missing or broken: that task is done again

A message is one line that says what is wrong, where, what the limit is, and the cure.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_INPUT = 1
EXIT_USAGE = 2
EXIT_QUARANTINED = 3
EXIT_STOPPED = 4


class MitoscaleError(Exception):
    """Any error that mitoscale raises on purpose."""

    exit_code = EXIT_INPUT


class InputError(MitoscaleError):
    """The input or the settings are wrong; nothing was changed."""

    exit_code = EXIT_INPUT


class StoppedError(MitoscaleError):
    """The run stopped half-way and can be resumed with the same command."""

    exit_code = EXIT_STOPPED


class BlockError(MitoscaleError):
    """One block could not be computed."""

    exit_code = EXIT_QUARANTINED


class DamagedError(BlockError):
    """What an earlier task has written is missing or broken; that task is done again, then the one that read it.

    Parameters
    ----------
    stage : str
        The stage that wrote it.
    task : str
        The task of that stage: a block's or a face's name; empty for what the stage makes at its beginning or end.
    reason : str
        What was found.

    Examples
    --------
    >>> print(DamagedError("detect", "z000_y000_x000", "shard 0/0/0 is missing"))
    detect z000_y000_x000 must be done again: shard 0/0/0 is missing
    """

    def __init__(self, stage: str, task: str, reason: str) -> None:
        super().__init__(stage, task, reason)  # all arguments, so that the error can be pickled
        self.stage = stage
        self.task = task
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.stage} {self.task} must be done again: {self.reason}"


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
