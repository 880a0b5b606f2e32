"""Whether all values of a volume of floats are finite."""

from __future__ import annotations

import numpy as np

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region
from mitoscale.storage.sources.reader import Reader

_VOXELS = 2**24
"""About what is read at once."""


def check_finite(reader: Reader) -> None:
    """Read the whole volume, slab by slab.

    Raises
    ------
    InputError
        If a slice holds NaN or infinite values, or cannot be read.
    """
    depth, height, width = reader.shape
    chunk = reader.chunks or (1, 1, width)
    thick = max(1, chunk[0])
    rows = max(chunk[1], _VOXELS // (thick * width) // chunk[1] * chunk[1])
    for z in range(0, depth, thick):
        for y in range(0, height, rows):
            part = Region(start=(z, y, 0), stop=(min(z + thick, depth), min(y + rows, height), width))
            try:
                data = reader.read(part)
            except BlockError as error:
                raise InputError(str(error)) from error
            finite = np.isfinite(data)
            if not finite.all():
                bad = (~finite).sum(axis=(1, 2))
                first = int(np.flatnonzero(bad)[0])
                raise InputError(
                    f"{reader.path}, slice {z + first}, has {bad[first]} values that are not finite; replace them by a grey value"
                )
