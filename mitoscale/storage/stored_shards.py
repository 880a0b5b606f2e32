"""Which shards of a Zarr array are stored, from the names of its files alone."""

from __future__ import annotations

import os
from contextlib import suppress

from mitoscale.core.geometry import Triple


def stored_shards(path: str) -> set[Triple]:
    """Indices (z, y, x) of the stored shards of a 3-D Zarr v3 array with the default names, ``c/z/y/x``.

    Parameters
    ----------
    path : str
        The array; none are stored where it is not there.
    """
    found: set[Triple] = set()
    for z in _numbers(os.path.join(path, "c")):
        for y in _numbers(os.path.join(path, "c", str(z))):
            found.update((z, y, x) for x in _numbers(os.path.join(path, "c", str(z), str(y))))
    return found


def _numbers(folder: str) -> list[int]:
    """Names in a folder that are numbers."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]
    return []
