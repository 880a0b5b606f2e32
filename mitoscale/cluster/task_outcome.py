"""How a task came back from the task pool."""

from __future__ import annotations

from dataclasses import dataclass

from mitoscale.core.result import BlockResult, Key


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """How a task came back: with a result, with an error, or (with neither) not at all, because its workers died."""

    key: Key
    """What it worked on."""
    result: BlockResult | None = None
    """What it returned."""
    error: BaseException | None = None
    """What it raised at last."""
    traceback: str = ""
    """Where it raised."""
    deaths: int = 0
    """Workers that died while they held it."""
