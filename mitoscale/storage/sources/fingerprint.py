"""Digests that tell one volume from another without reading a terabyte.

What is small is read whole. Of what is large, many small parts evenly spread: another volume, another export or a slice that was
replaced has another digest, while a change of single voxels in a large source can be missed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from mitoscale.core.geometry import Region, Triple

_WHOLE_BYTES = 2**26
"""Up to this, everything is read."""
_PROBES, _PROBE_BYTES = 512, 4096
_BOX, _BOXES_AN_AXIS = 16, 4


def of_files(paths: Sequence[str], about: str = "") -> str:
    """Digest of files by name, size and content; not of the folder they lie in.

    Parameters
    ----------
    paths : sequence of str
        The files.
    about : str
        What else tells the volume apart, such as the dataset in the file.
    """
    digest = hashlib.sha256(about.encode())
    sizes = [os.path.getsize(path) for path in paths]
    for path, size in zip(paths, sizes, strict=True):
        digest.update(f"{os.path.basename(path)} {size}\n".encode())
    if sum(sizes) <= _WHOLE_BYTES:
        for path in paths:
            with open(path, "rb") as file:
                digest.update(file.read())
        return digest.hexdigest()
    starts = np.cumsum([0, *sizes])
    # the first bytes of the first file and the last ones of the last are among them
    for at in np.linspace(0, starts[-1] - _PROBE_BYTES, _PROBES).astype(np.int64):
        number = int(np.searchsorted(starts, at, side="right")) - 1
        with open(paths[number], "rb") as file:
            file.seek(int(at - starts[number]))
            digest.update(file.read(_PROBE_BYTES))
    return digest.hexdigest()


def of_voxels(read: Callable[[Region], np.ndarray], shape: Triple, dtype: str, about: str) -> str:
    """Digest of voxels, for sources whose files are too many to look at.

    Parameters
    ----------
    read : callable
        Reads a region.
    shape : (z, y, x)
        Of the volume.
    dtype : str
        Of its voxels.
    about : str
        Its metadata.
    """
    digest = hashlib.sha256(about.encode())
    if np.dtype(dtype).itemsize * int(np.prod(shape)) <= _WHOLE_BYTES:
        digest.update(np.ascontiguousarray(read(Region.of_shape(shape))).data)
        return digest.hexdigest()
    starts = [np.linspace(0, max(0, n - _BOX), min(n, _BOXES_AN_AXIS)).astype(int).tolist() for n in shape]
    for start in product(*starts):
        stop = [min(a + _BOX, n) for a, n in zip(start, shape, strict=True)]
        digest.update(np.ascontiguousarray(read(Region(start=start, stop=tuple(stop)))).data)
    return digest.hexdigest()
