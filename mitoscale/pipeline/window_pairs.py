"""Windows of a run as pairs of TIFFs, image and labels, that any editor opens, and the list by which ``train`` takes them back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml

from mitoscale.core.geometry import Region
from mitoscale.core.training_settings import UNLABELLED_VALUE
from mitoscale.pipeline.run import Run
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.storage.arrays import open_array
from mitoscale.storage.tiff_writing import write_tiff

LIST_NAME = "volumes.yaml"
"""The list for ``mitoscale train``."""

_CONTEXT_NM = 40.0
"""How far before and behind its slice a window reaches: what the embedded U-Net sees."""


def write_pairs(run: Run, windows: Iterable[tuple[Region, np.ndarray]], out: Path) -> list[Path]:
    """Write image and labels of each window, and the list that ``mitoscale train`` takes.

    The image has the neighbouring slices that a U-Net sees, normalised as the run's volume is; in those slices the labels hold
    the value that means "not annotated".

    Parameters
    ----------
    run : Run
        Where the windows lie.
    windows : iterable of (region, labels)
        Each of one slice; labels (Y, X) integer, where they are ``UNLABELLED_VALUE`` nobody knows.
    out : Path
        An empty folder.

    Returns
    -------
    list of Path
        The files of labels.
    """
    plan = run.plan
    grey = read_grey(plan).normalisation
    image = open_array(plan.image, missing="fill")
    reach = round(_CONTEXT_NM / plan.spec.spacing[0])
    entries, written = [], []
    for number, (region, labels) in enumerate(windows, start=1):
        z, y, x = region.start
        low, high = max(z - reach, plan.region.start[0]), min(z + reach + 1, plan.region.stop[0])
        whole = Region(start=(low, y, x), stop=(high, *region.stop[1:]))
        stored = np.full(whole.shape, UNLABELLED_VALUE, np.uint16)
        stored[z - low] = numbered_anew(labels)
        name = f"{number:02}_z{z}_y{y}_x{x}"
        write_tiff(str(out / f"{name}_image.tif"), grey.apply(image.read(whole)), plan.spec.spacing)
        write_tiff(str(out / f"{name}_labels.tif"), stored, plan.spec.spacing)
        written.append(out / f"{name}_labels.tif")
        entries.append(
            {
                "name": name,
                "image": f"{name}_image.tif",
                "truth": f"{name}_labels.tif",
                "voxel_size": list(plan.spec.spacing),
                "unlabelled": UNLABELLED_VALUE,
                "normalised": True,
            }
        )
    (out / LIST_NAME).write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
    return written


def numbered_anew(labels: np.ndarray) -> np.ndarray:
    """Labels of a window as uint16: objects are 1, 2, ..., background and what nobody knows stay.

    Examples
    --------
    >>> numbered_anew(np.array([0, 70_000, 9, 65535, 9])).tolist()
    [0, 2, 1, 65535, 1]
    """
    unknown = labels == UNLABELLED_VALUE
    _, numbers = np.unique(np.append(0, np.where(unknown, 0, labels)), return_inverse=True)
    return np.where(unknown, UNLABELLED_VALUE, numbers[1:].reshape(labels.shape)).astype(np.uint16)
