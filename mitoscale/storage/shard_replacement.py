"""Replacing stored shards of a Zarr array: new ones are written beside it and take the place of the old ones, each at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.atomic import sync
from mitoscale.storage.stored_files import read


def whole_shards(where: Sequence[slice], sizes: Sequence[int], shape: Sequence[int]) -> list[str]:
    """Names of the shards that make up a part of an array; none where the part does not end where shards do.

    Parameters
    ----------
    where : sequence of slice
        The part, with start and stop.
    sizes : sequence of int
        Shape of a shard.
    shape : sequence of int
        Shape of the array, which may end within a shard.

    Examples
    --------
    >>> whole_shards((slice(0, 4), slice(4, 7)), (4, 4), (8, 7))
    ['c/0/1']
    >>> whole_shards((slice(0, 3), slice(4, 7)), (4, 4), (8, 7))
    []
    """
    if any(s.start % n or (s.stop % n and s.stop != end) for s, n, end in zip(where, sizes, shape, strict=True)):
        return []
    indices = (range(s.start // n, -(-s.stop // n)) for s, n in zip(where, sizes, strict=True))
    return [os.path.join("c", *map(str, index)) for index in product(*indices)]


def replace_shards(path: str, names: Sequence[str], write: Callable[[str], object]) -> None:
    """Write shards beside an array, and put them in the place of its own; what a kill left of the same is removed first.

    Parameters
    ----------
    path : str
        The array, Zarr v3; of a store each shard is written on this machine, and put whole.
    names : sequence of str
        From :func:`whole_shards`.
    write : callable
        Gets the path of an empty array with the same metadata, and writes all these shards into it.

    Raises
    ------
    OSError
        If they cannot be written; the array has old and new ones then, each of them whole.
    """
    if is_remote(path):
        return _put_shards(path, names, write)
    prefix = f".replacing-{names[0].replace(os.sep, '-')}-"  # only who writes these shards may remove what a kill left of them
    for left in Path(path).glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path) as aside:
        shutil.copy(os.path.join(path, "zarr.json"), aside)
        write(aside)
        for name in names:
            os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)  # of a shard never written
            os.replace(os.path.join(aside, name), os.path.join(path, name))
        for folder in {os.path.dirname(name) for name in names}:
            sync(os.path.join(path, folder))


def _put_shards(address: str, names: Sequence[str], write: Callable[[str], object]) -> None:
    from mitoscale.storage.object_store import put

    with tempfile.TemporaryDirectory(prefix="mitoscale-") as aside:
        Path(aside, "zarr.json").write_bytes(read(join(address, "zarr.json")) or b"")
        write(aside)
        for name in names:
            put(join(address, name), Path(aside, name).read_bytes())
