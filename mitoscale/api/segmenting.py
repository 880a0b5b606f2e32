"""Labels of an array that fits in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale import pipeline
from mitoscale.api.running import Progress, request_of, run_stages
from mitoscale.cluster.clusters import load_cluster
from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Spacing
from mitoscale.core.settings import STAGES
from mitoscale.stages.source import open_source
from mitoscale.storage.arrays import open_array
from mitoscale.storage.tiff_writing import write_tiff

_DTYPES = ("uint8", "int8", "uint16", "int16", "float32")


def segment(
    array: np.ndarray,
    voxel_size: Spacing,
    *,
    progress: Progress | None = None,
    workers: int = 0,
    scratch: str | None = None,
    **settings: Any,
) -> np.ndarray:
    """Labels of the mitochondria in an array.

    The same code as ``mitoscale run``, and bit for bit its labels, in a temporary folder; for what is larger than
    memory, or is to be looked at again, use :func:`mitoscale.run`.

    Parameters
    ----------
    array : (Z, Y, X) uint8, int8, uint16, int16 or float32
        Grey values; anything that ``numpy.asarray`` takes, such as a Dask array.
    voxel_size : (z, y, x)
        In nm.
    progress : callable, optional
        Called as ``progress(stage, done, total)`` after each task.
    workers : int
        Worker processes; 0: the tasks run one after another in this process.
    scratch : str, optional
        Where the temporary folder is made: it takes about five times the array.
    **settings
        See :func:`mitoscale.run`.

    Returns
    -------
    (Z, Y, X) uint32
        0 is background.

    Raises
    ------
    InputError
        If the array or a setting is not fit.
    BlockError
        If a block could not be computed.

    Examples
    --------
    >>> import mitoscale
    >>> labels = mitoscale.segment(stack, voxel_size=(5, 5, 5), segmenter="unet")  # doctest: +SKIP
    """
    array = np.asarray(array)
    if array.ndim != 3:
        raise InputError(f"an array of shape {array.shape} is no volume (z, y, x); give one slice as array[None]")
    if array.dtype.name not in _DTYPES:
        raise InputError(f"an array of {array.dtype} is not read; convert it to one of {', '.join(_DTYPES)}")
    request = request_of({**settings, "voxel_size": voxel_size})
    spacing = request.voxel_size
    if spacing is None:
        raise InputError("an array tells no voxel size; give voxel_size=(z, y, x) in nm")
    with tempfile.TemporaryDirectory(prefix="mitoscale-", dir=scratch, ignore_cleanup_errors=True) as folder:
        source = str(Path(folder, "array.tif"))
        write_tiff(source, array, spacing)
        where = load_cluster(None)
        volume = open_source(source, spacing)
        plan = pipeline.planned(volume, str(Path(folder, "run")), request, where.threads)
        run = pipeline.start(plan)
        run_stages(run, STAGES[: STAGES.index("measure")], where, workers=workers, progress=progress)
        for stage, tasks in pipeline.quarantined(run).items():
            raise BlockError(f"{stage} {tasks[0]} could not be computed: {pipeline.why_given_up(run, stage, tasks[0])}")
        return open_array(f"{plan.labels}/0", missing="fill").read_all()
