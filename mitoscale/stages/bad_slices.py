"""Bad slices of a volume: what convert tasks sum up of each slice, the table that lists them all, and what replaces which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import OtherBrightness, ReplacedSlice
from mitoscale.core.plan import RunPlan
from mitoscale.ops.padding_detection import Runs
from mitoscale.ops.slice_faults import SliceFacts, facts_of_sums, slice_states
from mitoscale.ops.slice_sums import slice_sums
from mitoscale.stages.work_tables import tables_of
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import Columns, write_table

_REPLACED = ("lost", "partly lost", "missing", "duplicate", "elsewhere", "blurred")
"""States of slices that the networks do not see."""

_FURTHEST_NM, _FURTHEST = 30.0, 2


def most_beside(step_nm: float) -> int:
    """How many slices beside each other their neighbours can stand for: as many as 30 nm hold, and two at least.

    Parameters
    ----------
    step_nm : float
        From slice to slice.

    Examples
    --------
    >>> most_beside(5.0), most_beside(50.0)
    (6, 2)
    """
    return max(_FURTHEST, int(_FURTHEST_NM / step_nm))


def sums_of_slices(core: Region, image: np.ndarray, runs: Runs) -> Columns:
    """What is kept of each of a task's slices.

    Parameters
    ----------
    core : Region
        Of the task.
    image : (Z, Y, X)
        Its cells, with the slices that its last ones are compared with.
    runs : Runs
        Flat cells of ``image``.
    """
    return {"z": np.arange(core.start[0], core.stop[0]), **slice_sums(image, runs, core.shape[0])}


def gather_slices(
    plan: RunPlan, tasks: Iterable[str], padding: np.ndarray
) -> tuple[tuple[ReplacedSlice, ...], tuple[OtherBrightness, ...], dict[str, int]]:
    """Decide which slices are bad, and list all in ``tables/slices.parquet``; holds a few numbers a slice.

    Parameters
    ----------
    plan : RunPlan
        The run.
    tasks : iterable of str
        Names of the convert tasks that are done.
    padding : (Z,) float
        Part of each slice that is padding.

    Returns
    -------
    tuple of ReplacedSlice
        What stands for which slice.
    tuple of OtherBrightness
        Slices whose grey values are brought to those of their neighbours.
    dict
        How many slices are in each state but ``good``.
    """
    first, depth = plan.region.start[0], plan.region.shape[0]
    sums, written = dict[str, np.ndarray](), tables_of(plan, "convert")
    for task in sorted(tasks):  # sums of floats depend on their order in the last bits
        part = written.read(task, ("slices",), finished=True).tables["slices"]
        place = part.pop("z") - first
        for name, values in part.items():
            sums.setdefault(name, np.zeros(depth, values.dtype))[place] += values
    missing = np.isin(np.arange(first, first + depth), plan.settings.convert.missing)
    facts = facts_of_sums(sums, padding, missing)
    states = slice_states(facts)
    replaced = _replaced(states, first, plan.spec.spacing[0])
    brightness = tuple(_as_beside(facts, int(z), first) for z in np.flatnonzero(states == "brightness"))
    stands = {r.z: r for r in replaced}
    beside = np.array([(s.before, s.after) if (s := stands.get(z + first)) else (-1, -1) for z in range(depth)])
    write_table(
        RunFolder(plan.run).slices,
        {
            "z": np.arange(first, first + depth),
            "state": states,
            "replaced": beside[:, 0] >= 0,
            "from_before": beside[:, 0],
            "from_after": beside[:, 1],
            "padding": facts.padding,
            "mean": facts.mean,
            "deviation": facts.deviation,
            "sharpness": facts.sharpness,
            "like_next": facts.next,
            "like_second": facts.second,
        },
    )
    counts: dict[str, int] = defaultdict(int)
    for state in states[states != "good"].tolist():
        counts[state] += 1
    return replaced, brightness, dict(sorted(counts.items()))


def _replaced(states: np.ndarray, first: int, step_nm: float) -> tuple[ReplacedSlice, ...]:
    """What stands for each bad slice: the nearest good ones on both sides, where they are near."""
    bad = np.isin(states, _REPLACED)
    good = np.flatnonzero(~bad)
    result = []
    for z in np.flatnonzero(bad):
        place = int(np.searchsorted(good, z))
        if not 0 < place < len(good):
            continue  # nothing is known of one side
        before, after = int(good[place - 1]), int(good[place])
        if after - before - 1 <= most_beside(step_nm):
            whole = states[z] != "partly lost"
            result.append(ReplacedSlice(z=int(z) + first, before=before + first, after=after + first, whole=whole))
    return tuple(result)


def _as_beside(facts: SliceFacts, z: int, first: int) -> OtherBrightness:
    """The map from a slice's grey values to those it would have with its neighbours' mean and contrast."""
    mean = (facts.mean[z - 1] + facts.mean[z + 1]) / 2
    gain = (facts.deviation[z - 1] + facts.deviation[z + 1]) / 2 / facts.deviation[z]
    # Of floats the sums of other blocks differ in the last bits: rounded, so that the labels do not.
    return OtherBrightness(z=z + first, gain=float(f"{gain:.6g}"), offset=float(f"{mean - gain * facts.mean[z]:.6g}"))
