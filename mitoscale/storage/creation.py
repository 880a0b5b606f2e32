"""Making Zarr v3 arrays."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.stored_files import read, remove_tree

_ZSTD_LEVEL = 1  # EM noise hardly compresses: higher levels cost time and save about 1 %
_NAMES = {3: ("z", "y", "x"), 4: ("block", "z", "y", "x")}


def create_array(
    path: str,
    *,
    shape: tuple[int, ...],
    dtype: str | np.dtype,
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    fill_value: float = 0,
    dimension_names: tuple[str, ...] | None = None,
    attributes: dict[str, Any] | None = None,
    overwrite: bool = False,
    compressed: bool = True,
) -> None:
    """Make an empty Zarr v3 array: zstd and a checksum for each chunk, chunks gathered in shards.

    Where the same array is there already its voxels stay, as a resumed run calls this again, and its attributes are
    renewed.

    Parameters
    ----------
    path : str
        Folder of the array, or its address in an object store.
    shape, chunks : tuple of int
        In voxels, of any number of dimensions; (z, y, x) or (block, z, y, x) here.
    dtype : str or dtype
        NumPy dtype.
    shards : tuple of int or None
        What one writer writes, a whole number of chunks; None: each chunk is a file.
    fill_value : float
        Value of voxels that were never written, where a reader asks for them.
    dimension_names : tuple of str, optional
        By default z, y, x (3-D) or block, z, y, x (4-D).
    attributes : dict, optional
        Stored with the array.
    overwrite : bool
        Remove an array that is there first, with its voxels.
    compressed : bool
        Not where it is read once and removed.

    Raises
    ------
    InputError
        If another array or a group is there already.
    StoppedError
        If it cannot be written.
    """
    import zarr  # takes long, and workers make no arrays
    from zarr.codecs import Crc32cCodec, ZstdCodec

    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="mitoscale-") as folder:
            create_array(
                folder,
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                shards=shards,
                fill_value=fill_value,
                dimension_names=dimension_names,
                attributes=attributes,
                compressed=compressed,
            )
            made = json.loads(Path(folder, "zarr.json").read_text(encoding="utf-8"))
        return _put_metadata(path, made, keeps=attributes is None, overwrite=overwrite)
    path = os.path.abspath(path)
    wanted = np.dtype(dtype)
    if overwrite and os.path.exists(os.path.join(path, "zarr.json")):
        shutil.rmtree(path)
    if os.path.exists(os.path.join(path, "zarr.json")):
        there = zarr.open(path, mode="r+")
        if not isinstance(there, zarr.Array) or (there.shape, there.dtype, there.chunks, there.shards) != (
            tuple(shape),
            wanted,
            tuple(chunks),
            None if shards is None else tuple(shards),
        ):
            raise InputError(f"another array lies at {path}; remove it, or use another run folder")
        if attributes is not None and dict(there.attrs) != attributes:
            there.attrs.put(attributes)
        return
    try:
        zarr.create_array(
            path,
            shape=tuple(shape),
            dtype=wanted,
            chunks=tuple(chunks),
            shards=None if shards is None else tuple(shards),
            compressors=[*([ZstdCodec(level=_ZSTD_LEVEL)] if compressed else []), Crc32cCodec()],
            fill_value=fill_value,
            dimension_names=dimension_names or _NAMES.get(len(shape)),
            attributes=attributes,
        )
    except OSError as error:
        raise StoppedError(f"cannot make the array {path}: {error.strerror or error}; free or repair the disk") from error


def _put_metadata(address: str, made: dict[str, Any], *, keeps: bool, overwrite: bool) -> None:
    """Put an array's metadata, which is all there is of an empty one; where it has attributes already they may stay."""
    from mitoscale.storage.object_store import put

    if overwrite:
        remove_tree(address)
    file = join(address, "zarr.json")
    content = read(file)
    if content is not None:
        there = json.loads(content)
        if _laid_out(there) != _laid_out(made):
            raise InputError(f"another array lies at {address}; remove it, or use another run folder")
        if keeps or there.get("attributes") == made.get("attributes"):
            return
    put(file, json.dumps(made, indent=2).encode())


def _laid_out(metadata: dict[str, Any]) -> tuple[Any, ...]:
    """Shape, dtype, chunks and shards."""
    inner = [codec["configuration"]["chunk_shape"] for codec in metadata.get("codecs", []) if codec["name"] == "sharding_indexed"]
    return metadata.get("shape"), metadata.get("data_type"), metadata.get("chunk_grid"), inner
