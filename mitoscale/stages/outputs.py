"""What the stages of a run have written and what must be there: arrays, their shards, and the files made at a stage's end."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import product

from mitoscale.core.geometry import Triple
from mitoscale.core.grid import BlockGrid, block_name
from mitoscale.core.plan import RunPlan
from mitoscale.stages.work_tables import STAGES_WITH_TABLES, tables_of
from mitoscale.storage.addresses import join
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.shard_listing import stored_in_row
from mitoscale.storage.stored_files import is_file, is_folder


def arrays_of(plan: RunPlan, stage: str) -> list[str]:
    """Paths of the Zarr arrays that a stage makes at its beginning and whose parts its tasks write.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of :data:`mitoscale.core.settings.STAGES`.
    """
    folder = RunFolder(plan.run)
    levels = range(len(plan.spec.factors))
    if stage == "convert":
        image = [] if plan.settings.convert.in_place else [f"{folder.volume}/{level}" for level in levels]
        return image
    if stage == "relabel":
        return [f"{plan.labels}/{level}" for level in levels]
    work = {"detect": folder.foreground, "segment": folder.fragments}
    return [work[stage]] if stage in work else []


def folders_of(plan: RunPlan, stage: str) -> list[str]:
    """Paths of the folders into which every task of a stage writes tables.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of ``STAGES``.
    """
    folder = RunFolder(plan.run)
    folders = {
        "convert": [folder.grey_parts],
        "detect": [folder.detections_parts],
        "segment": [folder.masks_parts],
        "stitch": [folder.edges] if _share_voxels(plan.grid) else [],
        "measure": [folder.objects_parts],
    }
    return folders.get(stage, [])


def _share_voxels(grid: BlockGrid) -> bool:
    """Whether any two blocks read voxels in common; single pictures, each a block, do not, and their faces have no tables."""
    return any(n > 1 and margin > 0 for n, margin in zip(grid.counts, grid.margin, strict=True))


def files_of(plan: RunPlan, stage: str) -> list[str]:
    """Paths of the files that a stage makes at its end, for people.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of ``STAGES``.
    """
    folder = RunFolder(plan.run)
    files = {
        "convert": [folder.grey, folder.slices],
        "detect": [folder.detections],
        "stitch": [folder.edges_table],
        "measure": [folder.objects, folder.objects_csv, folder.contacts, *([folder.cells] if plan.settings.detect.mask else [])],
        "report": [folder.report],
    }
    return files.get(stage, [])


def tasks_without_tables(plan: RunPlan, stage: str, done: Collection[str]) -> list[str]:
    """Tasks that a stage has done and whose tables are in no file that can be opened.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of :data:`mitoscale.core.settings.STAGES`.
    done : collection of str
        Names of the tasks that are done.
    """
    return tables_of(plan, stage).lacking(done) if stage in STAGES_WITH_TABLES else []


def tasks_without_shards(plan: RunPlan, stage: str) -> Iterator[str]:
    """Tasks of ``convert`` or ``relabel`` of which a shard of the image's or the labels' full level is not there.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of :data:`mitoscale.core.settings.STAGES`; the others' shards are checked by who reads them.
    """
    if stage not in ("convert", "relabel") or (stage == "convert" and plan.settings.convert.in_place):
        return
    array = plan.image if stage == "convert" else f"{plan.labels}/0"
    tasks = plan.convert_grid if stage == "convert" else plan.grid
    along_z, along_y, along_x = (_shards_along(tasks, plan.spec.shards, axis) for axis in range(3))
    for (z, zs), (y, ys) in product(along_z, along_y):
        rows = [stored_in_row(array, *row) for row in product(zs, ys)]
        for x, xs in along_x:
            if not all(row.issuperset(xs) for row in rows):
                yield block_name((z, y, x))


def _shards_along(tasks: BlockGrid, shards: Triple, axis: int) -> list[tuple[int, range]]:
    """Along one axis the index of each task, and those of the shards it writes."""
    core, shard, (low, high) = tasks.core_shape[axis], shards[axis], (tasks.region.start[axis], tasks.region.stop[axis])
    indices = range(tasks.first[axis], tasks.first[axis] + tasks.counts[axis])
    return [(i, range(max(i * core, low) // shard, -(-min((i + 1) * core, high) // shard))) for i in indices]


def places_gone(plan: RunPlan, stage: str) -> Iterator[str]:
    """Paths of a stage's arrays and folders that are not there; an array is there as long as its metadata is.

    Parameters
    ----------
    plan : RunPlan
        The run.
    stage : str
        One of ``STAGES``.
    """
    yield from (path for path in arrays_of(plan, stage) if not is_file(join(path, "zarr.json")))
    yield from (path for path in folders_of(plan, stage) if not is_folder(path))
