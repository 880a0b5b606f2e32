"""Whose labels lie where a run writes its own: those of another run are never written over."""

from __future__ import annotations

from pathlib import Path

from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan
from mitoscale.storage.ome import attributes_of


def check_owner(plan: RunPlan) -> None:
    """Raise InputError where labels that another run wrote into the source lie where this run would write.

    Labels carry the random name of their run; those within the run folder are the run's own.
    """
    if plan.labels.startswith(f"{plan.run}/"):
        return
    labels = Path(plan.labels)
    if not labels.is_dir() or not any(labels.iterdir()):
        return
    if attributes_of(plan.labels).get("run", "") != plan.owner:
        raise InputError(f"{labels} holds the labels of another run than {plan.run}: rename or remove them, then start again")
