"""What two runs of one volume found differently: their labels compared block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mitoscale.cluster.executor import Executor
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.evaluation.evaluate import count_overlaps
from mitoscale.evaluation.foreground_metrics import foreground_scores_of
from mitoscale.evaluation.label_reading import LabelSource, open_labels
from mitoscale.evaluation.object_groups import Groups, group_objects
from mitoscale.evaluation.object_metrics import match, object_scores


@dataclass(frozen=True, kw_only=True)
class RunDifference:
    """How the objects of one run differ from those of another."""

    region: Region
    """Where both runs have labels."""
    objects: dict[str, float]
    """Of the first run, with the second one as truth; see :func:`mitoscale.evaluation.object_metrics.object_scores`."""
    foreground: dict[str, float]
    """Voxel by voxel; see :mod:`mitoscale.evaluation.foreground_metrics`."""
    groups: Groups
    """What became of each object."""
    labels: tuple[LabelSource, LabelSource]
    """Of both runs."""


def check_comparable(here: RunPlan, there: RunPlan) -> Region:
    """The region that both runs have worked on.

    Parameters
    ----------
    here, there : RunPlan
        The runs.

    Raises
    ------
    InputError
        If they are the same run, of different volumes or voxel sizes, or have no part in common.
    """
    if here.run == there.run:
        raise InputError(f"--against {there.run} is the same run; give another one")
    a, b = here.settings.convert, there.settings.convert
    if here.spec.shape != there.spec.shape:
        raise InputError(f"{there.run} has shape {there.spec.shape}, {here.run} has {here.spec.shape} (z, y, x): no comparison")
    if a.fingerprint != b.fingerprint:
        raise InputError(f"{there.run} is a run of another volume ({b.source}) than {here.run} ({a.source}): no comparison")
    if here.spec.spacing != there.spec.spacing:
        sizes = [",".join(f"{s:g}" for s in plan.spec.spacing) for plan in (there, here)]
        raise InputError(f"{there.run} has voxels of {sizes[0]} nm, {here.run} of {sizes[1]} nm: no comparison")
    common = here.region.intersection(there.region)
    if common is None:
        raise InputError(f"{there.run} was run on {there.region}, {here.run} on {here.region}: they have no part in common")
    return common


def difference_of(
    here: RunPlan,
    there: RunPlan,
    *,
    executor: Executor | None = None,
    scratch: str | None = None,
    observer: Callable[[int, int], None] = lambda done, total: None,
) -> RunDifference:
    """Compare the labels of two runs; the second stands for the truth.

    Parameters
    ----------
    here, there : RunPlan
        The runs.
    executor : Executor, optional
        Where tasks run; by default in this process.
    scratch : str, optional
        Folder for small tables; all workers must see it.
    observer : callable
        Hears how many blocks are done, of how many.

    Raises
    ------
    InputError
        If they cannot be compared, or one has no finished labels.
    """
    region = check_comparable(here, there)
    pair = open_labels(here.run), open_labels(there.run)
    names = here.run, there.run
    table = count_overlaps(pair, region, names, slices=False, executor=executor, scratch=scratch, observer=observer).volume
    return RunDifference(
        region=region,
        objects=object_scores([match(table)]),
        foreground=foreground_scores_of(table),
        groups=group_objects(table),
        labels=pair,
    )
