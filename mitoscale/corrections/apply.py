"""All corrections of a run made on its labels, and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mitoscale.core.edit import in_force
from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.labels import corrected_labels, digest_of, is_current, remove_leftovers, write_corrected
from mitoscale.corrections.replay import Applied, Corrections
from mitoscale.corrections.tables import objects_path
from mitoscale.storage.edit_log import EditLog
from mitoscale.storage.ledger import LedgerEntry


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written."""

    edits: int
    """Corrections in force."""
    unfit: list[Applied]
    """Those that no longer fit."""
    objects: int
    """Objects that corrections touch, those that are gone among them."""
    blocks: int
    """Blocks that were written anew; 0 where all was there already."""
    labels: str
    """The corrected labels."""
    table: str
    """The corrected table."""


def apply_edits(plan: RunPlan, labels: str) -> Written:
    """Write corrected labels and tables; nothing is done where they are there and current.

    Parameters
    ----------
    plan : RunPlan
        The run; the caller holds it.
    labels : str
        Digest of all that relabel has written.

    Raises
    ------
    InputError
        If there are no corrections.
    """
    log = EditLog(plan.run, plan.settings.convert.fingerprint)
    with log.editing():
        edits = in_force(log.read())
        if not edits and not log.path.exists():
            raise InputError(f"{plan.run} has no corrections; make some with mitoscale edit or mitoscale view")
        remove_leftovers(plan)
        corrected, digest = Corrections.of(plan, edits), digest_of(edits, labels)
        there = is_current(plan, digest) and Path(objects_path(plan)).is_file()
        blocks = 0 if there else write_corrected(plan, corrected, digest)
    return Written(
        edits=len(edits),
        unfit=corrected.unfit,
        objects=len(corrected.touched),
        blocks=blocks,
        labels=corrected_labels(plan),
        table=str(Path(objects_path(plan)).with_suffix(".csv")),
    )


def current_corrections(plan: RunPlan, relabelled: LedgerEntry | None) -> tuple[str, str]:
    """The corrected labels' group and table of objects.

    Parameters
    ----------
    plan : RunPlan
        The run.
    relabelled : LedgerEntry or None
        The line that closes its labels; None where they are not finished.

    Raises
    ------
    InputError
        If they were not written since the last correction, or since the labels were made again.
    """
    edits = in_force(EditLog(plan.run, plan.settings.convert.fingerprint).read())
    if relabelled is None or not is_current(plan, digest_of(edits, relabelled.checksum)):
        raise InputError(f"the corrections of {plan.run} are not written; start mitoscale apply {plan.run} first")
    return corrected_labels(plan), objects_path(plan)
