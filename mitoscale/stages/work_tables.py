"""Where the small tables of each stage lie."""

from __future__ import annotations

from mitoscale.core.plan import RunPlan
from mitoscale.storage.block_tables import BlockTables
from mitoscale.storage.layout import RunFolder

STAGES_WITH_TABLES = ("convert", "detect", "segment", "stitch", "measure")
"""Stages whose tasks write tables."""


def tables_of(plan: RunPlan, stage: str) -> BlockTables:
    """What the tasks of a stage write.

    ``convert``, for each row of blocks: ``histogram``, ``flat`` and ``slices``; ``detect``: ``detections``; ``segment``:
    ``fragments``, ``touching`` and ``planes``; ``stitch``, for each face: ``edges`` and ``contacts``; ``measure``: ``sums`` and
    ``boundaries``.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of :data:`STAGES_WITH_TABLES`.
    """
    folder = RunFolder(plan.run)
    folders = {
        "convert": folder.grey_parts,
        "detect": folder.detections_parts,
        "segment": folder.masks_parts,
        "stitch": folder.edges,
        "measure": folder.objects_parts,
    }
    grid = plan.convert_grid if stage == "convert" else plan.grid
    return BlockTables(folders[stage], grid, stage=stage, token=plan.settings.token(stage))


def label_tables(plan: RunPlan) -> BlockTables:
    """What ``stitch`` writes at its end: of each block ``fragments``, each with its label."""
    folder, token = RunFolder(plan.run).label_tables, plan.settings.token("stitch")
    return BlockTables(folder, plan.grid, stage="stitch", token=token, by_tasks=False)


def final_tables(plan: RunPlan) -> BlockTables:
    """What ``relabel`` writes at its beginning: of each block ``fragments``, each with its final label, 0 where it is dropped."""
    folder, token = RunFolder(plan.run).final_tables, plan.settings.token("relabel")
    return BlockTables(folder, plan.grid, stage="relabel", token=token, by_tasks=False)
