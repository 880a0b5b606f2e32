"""The faults of the chaos test: what was done when, and which line of the run's log of events tells of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mitoscale.core.event import Event

KINDS = {
    "kill": "SIGKILL of a worker",
    "stop": "SIGSTOP of a worker for longer than heartbeats may be missing",
    "die": "worker dies inside a block",
    "memory": "worker out of memory inside a block",
    "raise": "exception inside a block",
    "store": "error of the store inside a block",
    "poison": "block that always fails",
    "damage": "written data removed, cut off or overwritten",
    "client": "SIGKILL of client, scheduler and all workers, then a fresh start",
}
"""What can be done, in words."""

TELLS = {
    "kill": "worker lost",
    "stop": "worker lost",
    "die": "worker lost",
    "memory": "worker lost",
    "raise": "raised",
    "store": "raised",
    "poison": "quarantined",
    "damage": "damaged",
    "client": "started",
}
"""The kind of event that tells of it."""

SAYS = {"raise": "a passing error", "store": "Stale file handle"}
"""What the event's detail says besides, where several faults have the same kind."""

WINDOW_SECONDS = 90.0
"""An event that tells of a fault comes within this time."""

CLOCK_SECONDS = 0.5
"""Files' times and the log's may differ by this."""

UNHEARD_SECONDS = {"stop": 20.0}
"""How soon before the client is killed a thing may happen that nobody hears of any more; ``worker_ttl`` and some for one that
is suspended."""

UNHEARD_AT_ONCE_SECONDS = 3.0
"""The same of all others: what a process's end takes to be seen and told."""


@dataclass(kw_only=True)
class Fault:
    """One thing that was done to a run."""

    kind: str
    """One of ``KINDS``."""
    time: float
    """Seconds since 1970."""
    block: str = ""
    """The block it was done to, where it was one."""
    told: str = ""
    """What the log says of it; empty where it says nothing."""
    used: Event | None = field(default=None, repr=False)
    """The event that tells of it."""


def match(faults: Sequence[Fault], events: Iterable[Event]) -> None:
    """Find the event of each fault: each event tells of one fault alone, those of named blocks first."""
    left = sorted(events, key=lambda e: e.time)
    for fault in sorted(faults, key=lambda f: (not f.block, f.time)):
        found = next((e for e in left if _tells(e, fault)), None)
        if found is not None:
            left.remove(found)
            fault.used, fault.told = found, " ".join(filter(None, (found.kind, found.stage, found.task, found.detail)))
            continue
        unheard = UNHEARD_SECONDS.get(fault.kind, UNHEARD_AT_ONCE_SECONDS)
        end = next((f for f in faults if f.kind == "client" and 0 <= f.time - fault.time < unheard and f is not fault), None)
        if end is not None:
            fault.told = f"nothing: the client was killed {end.time - fault.time:.1f} s later"


def _tells(event: Event, fault: Fault) -> bool:
    if event.kind != TELLS[fault.kind] or not -CLOCK_SECONDS <= event.time - fault.time <= WINDOW_SECONDS:
        return fault.kind == "poison" and event.kind == "quarantined" and event.task == fault.block
    if fault.kind in ("die", "memory"):
        return fault.block in event.detail
    return (not fault.block or event.task == fault.block) and SAYS.get(fault.kind, "") in event.detail


def table(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """One row a kind: what was done, how often, and how often the log tells of it."""
    rows = []
    for kind, words in KINDS.items():
        these = [f for f in faults if f.kind == kind]
        if these:
            told = sum(f.used is not None for f in these)
            cut = sum(f.told.startswith("nothing:") for f in these)
            rows.append({"fault": kind, "what": words, "times": len(these), "told": told, "client_killed_before": cut})
    return rows
