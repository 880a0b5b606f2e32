"""What a few real blocks take: from a run that has done some, or by running the first ones of a volume."""

from __future__ import annotations

import resource
import tempfile
from dataclasses import replace
from pathlib import Path

from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.errors import InputError
from mitoscale.core.forecast import Calibration, StageCost, voxels_computed, voxels_of_network, voxels_read
from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.core.settings import STAGES
from mitoscale.pipeline.observer import Observer
from mitoscale.pipeline.run import Run, start
from mitoscale.pipeline.runner import execute
from mitoscale.pipeline.state import why_given_up
from mitoscale.pipeline.status import progress
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.stored_files import stored_bytes


def calibrate(plan: RunPlan, blocks: int) -> Calibration:
    """Run some blocks from the middle of a volume in a temporary folder, in this process.

    Parameters
    ----------
    plan : RunPlan
        The run that is planned.
    blocks : int
        How many along x; fewer where the volume has not so many.
    """
    grid = plan.grid
    z, y, x = (f + n // 2 for f, n in zip(grid.first, grid.counts, strict=True))
    first = max(grid.first[2], min(x, grid.first[2] + grid.counts[2] - blocks))
    last = min(first + blocks, grid.first[2] + grid.counts[2]) - 1
    low, high = grid.block((z, y, first)).core, grid.block((z, y, last)).core
    convert = plan.settings.convert.model_copy(update={"region": Region(start=low.start, stop=high.stop)})
    settings = plan.settings.model_copy(update={"convert": convert})
    with tempfile.TemporaryDirectory(prefix="mitoscale-plan-") as folder:
        there = str(Path(folder, "run"))
        small = plan.model_copy(update={"settings": settings}).moved_to(there)
        small = small.model_copy(update={"labels": RunFolder(there).labels})
        run = start(small)
        outcomes = execute(run, STAGES, SerialExecutor(), Observer())
        for outcome in outcomes:
            for name in outcome.quarantined:
                why = why_given_up(run, outcome.name, name)
                raise InputError(f"plan: {outcome.name} {name} failed when it was tried ({why}); mend that, then plan")
        return replace(measured(run), worker_bytes=1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def measured(run: Run) -> Calibration:
    """What the blocks of a finished run took; but for memory, of which its ledgers tell nothing.

    Raises
    ------
    InputError
        If it is not finished, or its working files are gone.
    """
    found = progress(run)
    if not found.finished:
        raise InputError(f"plan: {run.plan.run} is not finished; give the source instead, and blocks are tried")
    if not RunFolder(run.plan.run).has_work():
        raise InputError(f"plan: the working files of {run.plan.run} were cleaned; give the source instead, and blocks are tried")
    costs = {}
    for stage in found.stages[:-1]:
        read, computed = max(1, voxels_read(run.plan, stage.name)), max(1, voxels_computed(run.plan, stage.name))
        seconds = sum(stage.seconds[phase] for phase in ("read", "compute", "write"))
        costs[stage.name] = StageCost(
            seconds_per_voxel=seconds / computed,
            read_per_voxel=stage.bytes_read / read,
            written_per_voxel=stage.bytes_written / read,
            network_pixels_per_voxel=stage.network_pixels / max(1, voxels_of_network(run.plan, stage.name)),
            network_pixels_per_second=stage.network_pixels / (stage.network_seconds or stage.seconds["compute"] or 1.0),
        )
    fragments = next(o for o in found.stages if o.name == "segment")
    return Calibration(
        blocks=fragments.done,
        stages=costs,
        stored_per_voxel=stored_bytes(run.plan.run) / run.plan.region.size,
        fragments_per_block=fragments.numbers.get("fragments", 0.0) / max(1, fragments.done),
    )
