"""Which shards of a Zarr array are stored, from the names of its files alone."""

from __future__ import annotations

from mitoscale.storage.addresses import join
from mitoscale.storage.stored_files import names_in


def stored_in_row(path: str, z: int, y: int) -> set[int]:
    """Indices x of the stored shards in a row of a 3-D Zarr v3 array with the default names, ``c/z/y/x``.

    Parameters
    ----------
    path : str
        The array; none are stored where it is not there.
    z, y : int
        The row.
    """
    return {int(name) for name in names_in(join(path, "c", str(z), str(y))) if name.isdigit()}
