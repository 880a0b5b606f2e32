"""Grey values of a volume: what each convert task counts, and what follows from all of it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from pydantic import ValidationError

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.normalisation import Normalisation, usual_range
from mitoscale.core.plan import RunPlan
from mitoscale.core.settings import ConvertSettings
from mitoscale.ops.grey_histogram import Histogram, values_of
from mitoscale.ops.padding_detection import flat_runs
from mitoscale.stages.bad_slices import gather_slices, sums_of_slices
from mitoscale.stages.padding import flat_cells, gather_padding, of_cells
from mitoscale.stages.work_tables import tables_of
from mitoscale.storage.layout import RunFolder, read_json, write_json

_PERCENTILES: tuple[float, float] = ConvertSettings.model_fields["percentiles"].default


def grey_of(
    histogram: Histogram, source: str, *, percentiles: tuple[float, float] = _PERCENTILES, invert: bool = False
) -> VolumeGrey:
    """Normalisation of a volume, or of a part that stands for it.

    Parameters
    ----------
    histogram : Histogram
        Of its grey values.
    source : str
        Its name, for the error.
    percentiles : pair of float
        Of the grey values that become 0 and 255.
    invert : bool
        Swap dark and bright.

    Raises
    ------
    InputError
        If the volume is constant.
    """
    counts, values = histogram.counts, histogram.values
    try:
        normalisation = Normalisation.from_histogram(counts, values, percentiles, invert)
    except ValueError as error:
        raise InputError(f"{source} has no contrast ({error}): nothing can be found in it; is it the right file?") from error
    least, most = usual_range(counts, values)
    extreme = int(counts[(values < least) | (values > most)].sum())
    return VolumeGrey(
        normalisation=normalisation,
        least=float(values[0]),
        most=float(values[-1]),
        extreme_share=extreme / int(counts.sum()),
    )


def tissue_of(whole: Histogram, padding: np.ndarray) -> tuple[Histogram, bool]:
    """The grey values of tissue, those of padding left out, and whether that is so.

    Where one value is left it is a drawing and no volume with tissue in it: all of its values count, and none is padding.

    Parameters
    ----------
    whole : Histogram
        Of a volume, or of a part that stands for it.
    padding : (B,) int64
        Bins of the grey values that padding has.
    """
    tissue = whole.without(padding)  # all of their value: the edge of padding lies within cells
    known = len(tissue.bins) > 1
    return (tissue if known else whole), known


def write_part(plan: RunPlan, task: str, core: Region, image: np.ndarray) -> None:
    """Keep what a convert task counts.

    Parameters
    ----------
    plan : RunPlan
        The run.
    task : str
        Name of the task.
    core : Region
        Its core.
    image : (Z, Y, X)
        Grey values of :func:`mitoscale.stages.padding.with_whole_cells`.
    """
    found = Histogram.of(image[: core.shape[0], : core.shape[1]])
    cells = of_cells(plan, core, image)
    runs = flat_runs(cells)
    tables = {
        "histogram": {"bin": found.bins, "count": found.counts},
        "flat": flat_cells(plan, core, runs),
        "slices": sums_of_slices(core, cells, runs),
    }
    tables_of(plan, "convert").write(task, tables)


def gather(plan: RunPlan, tasks: Collection[str]) -> VolumeGrey:
    """Bring the parts of all tasks together; in memory that does not grow with the volume.

    Parameters
    ----------
    plan : RunPlan
        The run.
    tasks : collection of str
        Names of those that are done.

    Raises
    ------
    InputError
        If the volume is constant.
    DamagedError
        If the part of a task is gone.
    """
    settings, dtype, written = plan.settings.convert, plan.spec.dtype, tables_of(plan, "convert")

    def part(task: str) -> Histogram:
        columns = written.read(task, ("histogram",), finished=True).tables["histogram"]
        return Histogram(dtype, columns["bin"], columns["count"])

    whole, padding = Histogram.total(map(part, tasks), dtype), gather_padding(plan, tasks)
    tissue, known = tissue_of(whole, padding.bins)
    name = f"convert: {settings.source}"
    grey = grey_of(tissue, name, percentiles=settings.percentiles, invert=settings.invert)
    if known and padding.digest:
        there = ~np.isin(np.arange(plan.region.start[0], plan.region.stop[0]), settings.missing)
        share = int(padding.pixels[there].sum()) / plan.region.size
        values = tuple(map(float, values_of(padding.bins, dtype)))
        grey = grey.model_copy(update={"padding_share": share, "padding_values": values, "padding_digest": padding.digest})
    area = plan.region.shape[1] * plan.region.shape[2]
    replaced, brightness, states = gather_slices(plan, tasks, padding.pixels / area if known else np.zeros(plan.region.shape[0]))
    return grey.model_copy(update={"replaced": replaced, "brightness": brightness, "slice_states": states})


def keep(plan: RunPlan, grey: VolumeGrey) -> None:
    """Write what was found for later stages.

    Parameters
    ----------
    plan : RunPlan
        The run.
    grey : VolumeGrey
        Of its volume.
    """
    write_json(RunFolder(plan.run).grey, grey.model_dump(mode="json"))


def read_grey(plan: RunPlan) -> VolumeGrey:
    """What conversion found.

    Raises
    ------
    InputError
        If the file is gone or damaged.
    """
    path = RunFolder(plan.run).grey
    try:
        return VolumeGrey.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path} is damaged: remove it, then start the same mitoscale run again") from error
