"""Evaluate: labels against truth, from runs, Zarr arrays or TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.ops.foreground_metrics import foreground_scores
from mitoscale.ops.object_metrics import instances, is_two_valued, object_scores_2d, object_scores_3d
from mitoscale.ops.partition_metrics import adapted_rand_error, variation_of_information
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder, read_json
from mitoscale.storage.ome import is_ome_zarr, open_image
from mitoscale.storage.tiff import open_tiff


def evaluate(
    labels: str, truth: str, *, slices: tuple[int, int] | None = None, min_truth: int = 0, threshold: int | None = None
) -> dict[str, Any]:
    """Score labels against truth.

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
        ``foreground``, ``objects_3d``, ``objects_2d`` (each a dict), ``voi_split``, ``voi_merge`` (bits), ``arand``.

    Raises
    ------
    InputError
        If one cannot be read, or their shapes differ.
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
    """The same for arrays: (Z, Y, X) integer labels; see :func:`evaluate`."""
    if prediction.shape != truth.shape:
        raise InputError(f"{names[0]} has shape {prediction.shape}, {names[1]} has {truth.shape}: they must be the same")
    if threshold is not None:
        truth = truth > threshold
    if truth.dtype == bool or is_two_valued(truth):
        truth = instances(truth)
    elif truth.dtype == np.uint8 and len(np.unique(truth)) > 64:
        raise InputError(
            f"{names[1]} has {len(np.unique(truth))} grey values: if it is a mask, give --truth-threshold (such as 127)"
        )
    if prediction.dtype in (np.bool_, np.uint8) and is_two_valued(prediction):
        prediction = instances(prediction)
    split, merge = variation_of_information(prediction, truth)
    return {
        "foreground": foreground_scores(prediction, truth),
        "objects_3d": object_scores_3d(prediction, truth, min_truth),
        "objects_2d": object_scores_2d(prediction, truth, min_truth),
        "voi_split": split,
        "voi_merge": merge,
        "arand": adapted_rand_error(prediction, truth),
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
        If there is nothing there that holds labels, or the slices leave it.
    """
    run = RunFolder(path)
    if Path(run.run_json).is_file():
        path = read_json(run.run_json)["plan"]["labels"]
        if not is_ome_zarr(path):
            raise InputError(f"run {run.path} has no labels yet; finish it with mitoscale run")
    if is_ome_zarr(path):
        path = open_image(path).level_paths[0]
    if any(Path(path, name).is_file() for name in ("zarr.json", ".zarray")):
        array = open_array(path, missing="fill")
        if len(array.shape) != 3:
            raise InputError(f"{path} has {len(array.shape)} axes; labels have three, z, y, x")
        shape: tuple[int, ...] = array.shape
        labels = array.read(_crop(shape, slices, path))
    else:
        source = open_tiff(path, labels=True)
        labels = source.read(_crop(source.shape, slices, path))
    if labels.dtype.kind == "f":
        raise InputError(f"{path} holds {labels.dtype}; labels are whole numbers")
    return labels


def _crop(shape: tuple[int, ...], slices: tuple[int, int] | None, path: str) -> Region:
    start, stop = slices or (0, shape[0])
    if not 0 <= start < stop <= shape[0]:
        raise InputError(f"--slices {start}:{stop} leaves {path}, which has slices 0:{shape[0]}")
    return Region(start=(start, 0, 0), stop=(stop, shape[1], shape[2]))
