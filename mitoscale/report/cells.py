"""The report's part about cells: what of each cell of a mask is mitochondria."""

from __future__ import annotations

import numpy as np

from mitoscale.core.plan import RunPlan
from mitoscale.core.quantities import volume_text
from mitoscale.report.content import Part, Table
from mitoscale.stages.earlier_outputs import read_written_table
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.stored_files import is_file

_LISTED = 25

_ABOUT = (
    "A mitochondrion counts for the cell in which most of its voxels lie; volumes are what of any mitochondrion lies in the cell. "
    "Cells are counted in the part of the volume that was worked on: one that its border cuts is not whole. "
)


def cells_of(plan: RunPlan) -> Part | None:
    """What the report tells of cells; None where there was no mask.

    Parameters
    ----------
    plan : RunPlan
        The run, which has been measured.

    Raises
    ------
    DamagedError
        If the table is missing or damaged though there was a mask.
    """
    folder = RunFolder(plan.run)
    if plan.settings.detect.mask is None or not is_file(folder.cells):
        return None
    cells = read_written_table(folder.cells, stage="measure", task="")
    count, found = len(cells["cell"]), cells["mitochondria"]
    if not count:
        return None
    order = np.argsort(-cells["volume_nm3"], kind="stable")[:_LISTED]
    rows = []
    for i in order:
        mean = volume_text(float(cells["mitochondria_nm3"][i] / found[i])) if found[i] else ""
        rows.append(
            (
                str(cells["cell"][i]),
                volume_text(float(cells["volume_nm3"][i])),
                str(found[i]),
                volume_text(float(cells["mitochondria_nm3"][i])),
                f"{cells['fraction'][i]:.1%}",
                mean,
            )
        )
    head = ("cell", "volume", "mitochondria", "their volume", "of the cell", "volume in it / mitochondria")
    figures = {"cells": str(count), "without any mitochondrion": str(int(np.count_nonzero(found == 0)))}
    if count > 1:
        figures["mitochondria in a cell, median"] = f"{np.median(found):g}"
        figures["part of a cell, median"] = f"{np.median(cells['fraction']):.1%}"
    which = f"The {_LISTED} largest of {count} cells are listed; all" if count > _LISTED else "The same numbers"
    return Part(figures=figures, table=Table(head=head, rows=rows), note=f"{_ABOUT}{which} are in tables/cells.parquet.")
