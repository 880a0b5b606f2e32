"""Evaluate: labels against truth, from runs, Zarr arrays, TIFF or PNG; block by block, so that any volume can be scored."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from operator import add
from typing import Any

import numpy as np

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.executor import Executor, SerialExecutor
from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.core.result import BlockResult
from mitoscale.core.source_choices import Reading
from mitoscale.evaluation.foreground_metrics import foreground_scores, foreground_scores_of
from mitoscale.evaluation.label_reading import LabelSource, open_labels
from mitoscale.evaluation.object_metrics import match, object_scores, object_scores_2d
from mitoscale.evaluation.partition_metrics import arand_of, voi_of
from mitoscale.evaluation.tasks import CURES, KINDS, SIDES, Evaluation, check_kinds
from mitoscale.evaluation.totals import Sums, add_up
from mitoscale.evaluation.truth import check_labels, check_largest, open_truth
from mitoscale.ops.contingency import contingency
from mitoscale.ops.instances import instances, is_grey_image, is_grey_mask

_BLOCK = (64, 512, 512)
"""About what a block of chunked labels spans."""

_ROWS = 2**24
"""About the voxels of a block where TIFF slices are read: as many whole slices as that."""

_LOOKED_AT = 2**30
"""Most voxels of a truth that are read anew to tell a threshold that is too high from a part without mitochondria."""

_SUMMED: dict[str, Callable[[float, float], float]] = {"lowest": min, "highest": max}
"""How the counts of tasks come together, by the last word of their names; the others are added."""

_PROBED = 1024
"""Edge of the middle part of the middle slice by which an image is told from labels."""


def evaluate(
    labels: str,
    truth: str,
    *,
    slices: tuple[int, int] | None = None,
    min_truth: int = 0,
    threshold: float | None = None,
    reading: Reading | None = None,
    truth_dtype: str | None = None,
    block: Triple | None = None,
    executor: Executor | None = None,
    scratch: str | None = None,
    observer: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score labels against truth.

    An array with one value besides 0 is a mask: its objects are the connected components (26-neighbourhood; slice by slice
    the 8-neighbourhood), of the slices that are scored alone. An array with more values is taken as labels.

    Each block is read once. A task's memory follows the block; the caller's follows the number of objects (about 100 bytes
    a pair that meets in a block), and the voxels in no way.

    Parameters
    ----------
    labels, truth : str
        A run folder, or a volume of any kind that a run can be made from.
    slices : (start, stop), optional
        Only these slices; cropped before anything is labelled, as is what a run with ``--region`` has not worked on.
    min_truth : int
        Truth objects of fewer voxels (in 2D: pixels) are ignored, and so are predictions that lie mostly on them.
    threshold : float, optional
        The truth is a mask of grey values or probabilities: values above this are mitochondria.
    reading : Reading, optional
        What of the labels is read; a truth of raw bytes has the same shape.
    truth_dtype : str, optional
        Of a truth of raw bytes; by default that of the labels.
    block : (z, y, x), optional
        What one task reads, in voxels; by default about 17 million.
    executor : Executor, optional
        Where tasks run; by default in this process.
    scratch : str, optional
        Folder in which a folder for small tables is made, and removed at the end; all workers must see it. By default the
        system's folder for temporary files.
    observer : callable
        Hears how many blocks are done, of how many.

    Returns
    -------
    dict
        ``foreground``, ``objects_3d``, ``objects_2d`` (each a dict; see :mod:`mitoscale.evaluation.foreground_metrics` and
        :mod:`mitoscale.evaluation.object_metrics`), ``voi_split``, ``voi_merge`` (bits), ``arand``.

    Raises
    ------
    InputError
        If one cannot be read, is no label image, or their shapes differ; or the threshold is above all of the truth's values.
    """
    reading = reading or Reading()
    pair = open_labels(labels, reading, cure=CURES["pred"]), open_truth(truth, threshold, reading.of_truth(truth_dtype))
    if pair[0].shape != pair[1].shape:
        raise InputError(f"{labels} has shape {pair[0].shape}, {truth} has {pair[1].shape} (z, y, x): they must be the same")
    parts = [one.cropped(slices) for one in pair]
    region = parts[0].intersection(parts[1])
    if region is None:
        raise InputError(f"{labels} and {truth} were run on parts that do not meet: {parts[0]} and {parts[1]}")
    _check_no_image(pair[0], region, SIDES[0], labels)
    if threshold is None:
        _check_no_image(pair[1], region, SIDES[1], truth)
    sums = count_overlaps(
        pair,
        region,
        (labels, truth),
        min_truth=min_truth,
        threshold=threshold,
        block=block,
        executor=executor,
        scratch=scratch,
        observer=observer,
    )
    split, merge = voi_of(sums.volume)
    return {
        "foreground": foreground_scores_of(sums.volume),
        "objects_3d": object_scores([match(sums.volume, min_truth)]),
        "objects_2d": object_scores(sums.slices),
        "voi_split": split,
        "voi_merge": merge,
        "arand": arand_of(sums.volume),
    }


def count_overlaps(
    pair: tuple[LabelSource, LabelSource],
    region: Region,
    names: tuple[str, str],
    *,
    min_truth: int = 0,
    threshold: float | None = None,
    slices: bool = True,
    block: Triple | None = None,
    executor: Executor | None = None,
    scratch: str | None = None,
    observer: Callable[[int, int], None] = lambda done, total: None,
) -> Sums:
    """Which objects of two label volumes meet, and in how many voxels, block by block.

    Parameters
    ----------
    pair : (LabelSource, LabelSource)
        What is judged, and what it is judged by.
    region : Region
        What is read of both.
    names : (str, str)
        What errors call both.
    slices : bool
        Count objects of slices too.
    min_truth, threshold, block, executor, scratch, observer
        See :func:`evaluate`.

    Raises
    ------
    InputError
        If one holds no labels, or the threshold is above all of the truth's values.
    """
    margin = (0, 0, 0) if pair[0].labelled and pair[1].labelled else (1, 1, 1)  # components are joined across borders
    grid = BlockGrid(region=region, core_shape=block or _block(region, pair), margin=margin)
    kinds = KINDS if slices else KINDS[:1]
    with _scratch(scratch) as folder:
        task = Evaluation(labels=pair[0], truth=pair[1], threshold=threshold, grid=grid, scratch=folder, kinds=kinds)
        counts = _count(task, executor or SerialExecutor(), dict(zip(SIDES, names, strict=True)), observer)
        if threshold is not None:
            _check_threshold(pair[1], region, threshold, counts["true_highest"])
        return add_up(grid, folder, min_truth, slices=slices)


def score(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    min_truth: int = 0,
    threshold: float | None = None,
    names: tuple[str, str] = ("LABELS", "TRUTH"),
) -> dict[str, Any]:
    """The same for arrays: (Z, Y, X) integer labels or masks; see :func:`evaluate`.

    Parameters
    ----------
    prediction, truth : (Z, Y, X) integer
        Labels or masks.
    min_truth : int
        Smaller objects of the truth, in voxels (in 2D: pixels), are left out.
    threshold : float, optional
        Above it the truth is a mitochondrion.
    names : (str, str)
        What errors call both.
    """
    if prediction.shape != truth.shape:
        raise InputError(f"{names[0]} has shape {prediction.shape}, {names[1]} has {truth.shape} (z, y, x): they must be the same")
    if threshold is not None:
        truth = truth > threshold
    check_labels(prediction, names[0], CURES["pred"])
    check_labels(truth, names[1])
    table = contingency(instances(prediction), instances(truth))
    split, merge = voi_of(table)
    return {
        "foreground": foreground_scores(prediction, truth),
        "objects_3d": object_scores([match(table, min_truth)]),
        "objects_2d": object_scores_2d(prediction, truth, min_truth),
        "voi_split": split,
        "voi_merge": merge,
        "arand": arand_of(table),
    }


def _count(task: Evaluation, executor: Executor, names: dict[str, str], observer: Callable[[int, int], None]) -> dict[str, float]:
    """Run all tasks and sum up what they counted; raises as soon as it is clear that there is nothing to score."""
    sums: dict[str, float] = {}
    done = 0

    def keep(result: BlockResult) -> None:
        nonlocal done
        for name, value in result.counts.items():
            sums[name] = _SUMMED.get(name.rpartition("_")[2], add)(sums.get(name, 0.0), value)
        done += 1
        observer(done, len(task.grid))

    failures = executor.run(StageTasks("evaluate", task.process, "io"), task.grid.blocks(), on_result=keep)
    if failures:
        raise InputError(
            f"{len(failures)} of {len(task.grid)} blocks could not be scored, the first ({failures[0].name}) because of "
            f"{failures[0].error}; repair what it names"
        )
    check_kinds(sums, names)
    return sums


def _check_threshold(truth: LabelSource, region: Region, threshold: float, highest: float) -> None:
    """Raise where the threshold is above all of the truth's values, not only above those of a part without mitochondria."""
    whole = Region.of_shape(truth.shape)
    if not 0 < highest <= threshold or whole.size > _LOOKED_AT:
        return
    if region != whole:
        for block in BlockGrid(region=whole, core_shape=_block(whole, (truth, truth)), margin=(0, 0, 0)).blocks():
            highest = max(highest, float(np.fmax.reduce(truth.read(block.core), axis=None, initial=0)))
            if highest > threshold:
                return
    check_largest(truth.path, highest, threshold)


def _block(region: Region, pair: tuple[LabelSource, LabelSource]) -> Triple:
    """What one task reads: whole chunks, or whole rows of TIFF slices, so that little is decoded twice."""
    chunks = next((one.chunks for one in pair if one.chunks is not None), None)
    if chunks is None:
        z, y, x = region.shape
        rows = max(1, min(y, _ROWS // x))
        return max(1, min(z, _ROWS // (rows * x))), rows, x
    z, y, x = (-(-wanted // chunk) * chunk for wanted, chunk in zip(_BLOCK, chunks, strict=True))
    return z, y, x


def _scratch(parent: str | None) -> AbstractContextManager[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="mitoscale-evaluate-", dir=parent)
    except OSError as error:
        raise InputError(f"no folder can be made in {parent} ({error.strerror}); give another with --scratch") from error


def _check_no_image(source: LabelSource, region: Region, side: str, name: str) -> None:
    """Look at the middle slice before anything is counted."""
    z = (region.start[0] + region.stop[0]) // 2
    start, stop = [z], [z + 1]
    for length in region.shape[1:]:
        start.append(max(0, (length - _PROBED) // 2))
        stop.append(min(length, start[-1] + _PROBED))
    try:
        middle = source.read(Region(start=tuple(start), stop=tuple(stop)))
    except BlockError:
        return  # the blocks that hold it are going to say so
    if not is_grey_mask(middle) and is_grey_image(middle):
        raise InputError(f"{name} looks like a grey image, not labels; if it is a mask, {CURES[side]}")
