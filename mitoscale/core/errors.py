"""The errors mitoscale raises on purpose, and the exit code each one ends the command line with.

::

    MitoscaleError
    ├── InputError      1  wrong input or settings; nothing was changed
    ├── StoppedError    4  stopped, but the run can be resumed (disk full, cluster lost)
    └── BlockError         one block failed; the run goes on without it and ends with 3

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
