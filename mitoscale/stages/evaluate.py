"""Evaluate: labels against truth, from runs, Zarr arrays, TIFF or PNG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.ops.foreground_metrics import foreground_scores
from mitoscale.ops.instances import instances, is_grey_image, is_grey_mask
from mitoscale.ops.object_metrics import object_scores_2d, object_scores_3d
from mitoscale.ops.partition_metrics import arand, voi
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder, read_json
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.ome import is_ome_zarr, open_image
from mitoscale.storage.tiff import open_tiff

_ANY_SPACING = (1.0, 1.0, 1.0)
"""Labels are compared voxel by voxel, so a voxel size is not asked for."""


def evaluate(
    labels: str, truth: str, *, slices: tuple[int, int] | None = None, min_truth: int = 0, threshold: int | None = None
) -> dict[str, Any]:
    """Score labels against truth.

    An array with one value besides 0 is a mask: its objects are the connected components (26-neighbourhood; slice by slice
    the 8-neighbourhood), of the slices that are scored alone. An array with more values is taken as labels.

    Parameters
    ----------
    labels, truth : str
        A run folder, an OME-Zarr group, a Zarr array, a TIFF file, or a folder or glob of TIFF or PNG slices.
    slices : (start, stop), optional
        Only these slices; cropped before anything is labelled.
    min_truth : int
        Truth objects of fewer voxels (in 2D: pixels) are ignored, and so are predictions that lie mostly on them.
    threshold : int, optional
        The truth is a grey-valued mask: values above this are mitochondria.

    Returns
    -------
    dict
        ``foreground``, ``objects_3d``, ``objects_2d`` (each a dict; see :mod:`mitoscale.ops.foreground_metrics` and
        :mod:`mitoscale.ops.object_metrics`), ``voi_split``, ``voi_merge`` (bits), ``arand``.

    Raises
    ------
    InputError
        If one cannot be read, is no label image, or their shapes differ.
    """
    prediction, wanted = read_labels(labels, slices), read_labels(truth, slices)
    return score(prediction, wanted, min_truth=min_truth, threshold=threshold, names=(labels, truth))


def score(
    prediction: np.ndarray,
    truth: np.ndarray,
    *,
    min_truth: int = 0,
    threshold: int | None = None,
    names: tuple[str, str] = ("LABELS", "TRUTH"),
) -> dict[str, Any]:
    """The same for arrays: (Z, Y, X) integer labels or masks; see :func:`evaluate`."""
    if prediction.shape != truth.shape:
        raise InputError(f"{names[0]} has shape {prediction.shape}, {names[1]} has {truth.shape} (z, y, x): they must be the same")
    if threshold is not None:
        truth = truth > threshold
    _check_values(prediction, names[0], "write it as 0 and 1, or as labels")
    _check_values(truth, names[1], "give --truth-threshold, such as 127")
    predicted, wanted = instances(prediction), instances(truth)
    split, merge = voi(predicted, wanted)
    return {
        "foreground": foreground_scores(prediction, truth),
        "objects_3d": object_scores_3d(predicted, wanted, min_truth),
        "objects_2d": object_scores_2d(prediction, truth, min_truth),
        "voi_split": split,
        "voi_merge": merge,
        "arand": arand(predicted, wanted),
    }


def read_labels(path: str, slices: tuple[int, int] | None = None) -> np.ndarray:
    """Labels from anywhere.

    Parameters
    ----------
    path : str
        See :func:`evaluate`.
    slices : (start, stop), optional
        Only these slices.

    Returns
    -------
    (Z, Y, X) integer

    Raises
    ------
    InputError
        If there is nothing there that holds labels, a run has not finished them, or the slices leave it.
    """
    if Path(RunFolder(path).run_json).is_file():
        path = _labels_of_run(path)
    if is_ome_zarr(path):
        path = open_image(path, spacing=_ANY_SPACING).level_paths[0]
    if any(Path(path, name).is_file() for name in ("zarr.json", ".zarray")):
        array = open_array(path, missing="fill")  # others leave empty chunks out
        if len(array.shape) != 3:
            raise InputError(f"{path} has {len(array.shape)} axes; labels have three, z, y, x")
        labels = array.read(_crop(array.shape, slices, path))
    else:
        source = open_tiff(path, labels=True)
        labels = source.read(_crop(source.shape, slices, path))
    if labels.dtype.kind not in "biu":
        raise InputError(f"{path} holds {labels.dtype} values; labels are whole numbers")
    return labels


def _labels_of_run(path: str) -> str:
    """The labels group of a run whose relabel stage has ended."""
    run = RunFolder(os.path.abspath(path))
    try:
        plan = RunPlan.model_validate(read_json(run.run_json)["plan"])
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{run.run_json} is damaged ({str(error).splitlines()[0]}): run it again in a new folder") from error
    written = Ledger(run.ledger("relabel")).entries(plan.settings.token("relabel"))
    missing = [block.name for block in plan.grid.blocks() if block.name not in written]
    if missing:
        raise InputError(
            f"run {path} has labels in {len(plan.grid) - len(missing)} of {len(plan.grid)} blocks; "
            "finish it with mitoscale run, or mitoscale relabel"
        )
    return run.labels if is_ome_zarr(run.labels) else plan.labels


def _check_values(labels: np.ndarray, name: str, cure: str) -> None:
    if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
        raise InputError(f"{name} holds {labels.min()}; labels are 0 (background) and above")
    if is_grey_mask(labels):
        raise InputError(f"{name} is a mask with grey values between 0 and 255: {cure}")
    if is_grey_image(labels):
        raise InputError(f"{name} looks like a grey image, not labels; if it is a mask, {cure}")


def _crop(shape: tuple[int, ...], slices: tuple[int, int] | None, path: str) -> Region:
    start, stop = slices or (0, shape[0])
    if not 0 <= start < stop <= shape[0]:
        raise InputError(f"slices {start}:{stop} are not within those of {path}, 0:{shape[0]}; give others with --slices")
    return Region(start=(start, 0, 0), stop=(stop, shape[1], shape[2]))
