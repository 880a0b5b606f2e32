"""Zarr arrays, read and written with tensorstore (zarr-python creates them, but is several times slower at voxels).

Each shard has one writer, and a shard appears whole or not at all (tensorstore renames a finished file), so
there are no locks here. A shard that was never written is an error when read, not zeros: see :func:`open_array`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import tensorstore as ts

from mitoscale.core.errors import BlockError, InputError, StoppedError
from mitoscale.core.geometry import Region
from mitoscale.storage.addresses import absolute, is_remote, join
from mitoscale.storage.checksum import checksum
from mitoscale.storage.creation import create_array
from mitoscale.storage.places import explained, is_of_the_store, kvstore
from mitoscale.storage.shard_replacement import replace_shards, whole_shards
from mitoscale.storage.stored_files import read
from mitoscale.storage.tensorstore_context import context
from mitoscale.storage.tensorstore_errors import is_refusal, reason

__all__ = ["Array", "MissingShardError", "checksum", "create_array", "open_array"]


class MissingShardError(BlockError):
    """A shard was read that nobody has written."""


def open_array(path: str, *, missing: Literal["raise", "fill"] = "raise") -> Array:
    """An existing array, Zarr v2 or v3, ours or another's.

    Parameters
    ----------
    path : str
        Folder of the array, or its address in an object store.
    missing : {"raise", "fill"}
        What reading a chunk that was never written does: raise :class:`MissingShardError`, or give the fill value.
        Foreign volumes may leave empty chunks out: read those with ``fill``.

    Raises
    ------
    InputError
        If there is no array at ``path``, or one that cannot be read.
    StoppedError
        If a store fails.
    """
    array = Array(path=absolute(path), missing=missing)
    array._store  # noqa: B018 - open it now, so that a bad path is found here
    return array


@dataclass(frozen=True)
class Array:
    """A Zarr array by its path; cheap to make and to pickle. Get one from :func:`open_array`."""

    path: str
    """Absolute path, or address."""
    missing: Literal["raise", "fill"] = "raise"
    """What reading a chunk that was never written does."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in voxels."""
        return tuple(self._store.shape)

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype, in this machine's byte order."""
        return np.dtype(self._store.dtype.numpy_dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of the chunks: the least that is read."""
        return tuple(self._store.chunk_layout.read_chunk.shape)

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Shape of the shards: what one writer writes; None where each chunk is a file."""
        codecs = self._store.spec().to_json().get("metadata", {}).get("codecs", [])
        sharded = any(codec["name"] == "sharding_indexed" for codec in codecs)
        return tuple(self._store.chunk_layout.write_chunk.shape) if sharded else None

    @property
    def attributes(self) -> dict[str, Any]:
        """What is stored with the array."""
        for name, key in (("zarr.json", "attributes"), (".zattrs", None)):
            text = read(join(self.path, name))
            if text is not None:
                content = json.loads(text)
                return content.get(key, {}) if key else content
        return {}

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region.

        Parameters
        ----------
        region : Region
            Within the array's shape, in this array's voxels.

        Returns
        -------
        (Z, Y, X) ndarray
            Of the array's dtype; a new, contiguous array.

        Raises
        ------
        MissingShardError
            If a shard in the region was never written and ``missing`` is ``raise``.
        BlockError
            If stored bytes are broken or cannot be read.
        StoppedError
            If a store fails.
        """
        return self._read(region.slices)

    def read_all(self) -> np.ndarray:
        """The whole array, of any number of dimensions; raises what :meth:`read` does."""
        return self._read(tuple(slice(0, n) for n in self.shape))

    def write(self, region: Region, data: np.ndarray) -> None:
        """Write voxels; durable once this returns. Shards that hold nothing but the fill value are stored too.

        Parameters
        ----------
        region : Region
            Where; only the caller may be writing to the shards it meets.
        data : (Z, Y, X) ndarray
            Of the region's shape and the array's dtype.

        Raises
        ------
        ValueError
            If shape or dtype do not fit (nothing is cast in silence).
        StoppedError
            If the disk is full or cannot be written, or a store fails.
        BlockError
            If a shard that is only partly overwritten is broken.
        """
        self._write(region.slices, data)

    def begin_write(self, region: Region, data: np.ndarray) -> Callable[[], None]:
        """Begin a :meth:`write`, which goes on beside what else is done; what is returned waits for its end, and raises.

        Parameters
        ----------
        region : Region
            Where; only the caller may be writing to the shards it meets.
        data : (Z, Y, X) ndarray
            Must not change until then.
        """
        return self._begin(region.slices, data)

    @property
    def _store(self) -> Any:
        if is_remote(self.path):
            return self._opened
        for name in ("zarr.json", ".zarray"):
            with suppress(FileNotFoundError, NotADirectoryError):
                status = os.stat(os.path.join(self.path, name))
                # the file's identity is part of the key: an array that was removed and made anew is opened anew
                return _open(self.path, name, self.missing, status.st_mtime_ns, status.st_ino)
        raise InputError(f"no Zarr array at {self.path}; run the stage that writes it, or correct the path")

    @cached_property
    def _opened(self) -> Any:
        """An array of a store: its metadata are read once for each of these, which are short-lived."""
        return _open_remote(self.path, self.missing)

    def __reduce__(self) -> tuple[type[Array], tuple[str, str]]:
        """Without what is opened."""
        return Array, (self.path, self.missing)

    def _check(self, where: tuple[slice, ...], shape: tuple[int, ...]) -> None:
        if len(where) != len(shape) or any(s.start < 0 or s.stop > n for s, n in zip(where, shape, strict=True)):
            asked = ",".join(f"{s.start}:{s.stop}" for s in where)
            raise ValueError(f"{asked} leaves the array {self.path} of shape {shape}")

    def _read(self, where: tuple[slice, ...]) -> np.ndarray:
        store = self._store
        self._check(where, tuple(store.shape))
        try:
            data = store[where].read(order="C").result()
        except (ValueError, OSError) as error:
            if _fails(self.path, error):
                raise StoppedError(str(explained(self.path, error))) from error
            if "NOT_FOUND" in str(error):
                raise MissingShardError(f"a shard of {self.path} was never written ({error}); redo its block") from error
            raise BlockError(f"cannot read {self.path}: {error}") from error
        return np.ascontiguousarray(data, dtype=store.dtype.numpy_dtype)

    def _write(self, where: tuple[slice, ...], data: np.ndarray) -> None:
        self._begin(where, data)()

    def _begin(self, where: tuple[slice, ...], data: np.ndarray) -> Callable[[], None]:
        """Begin to write; what is returned waits for the end."""
        store = self._store
        self._check(where, tuple(store.shape))
        shape, dtype = tuple(s.stop - s.start for s in where), np.dtype(store.dtype.numpy_dtype)
        if data.shape != shape or data.dtype != dtype:
            raise ValueError(f"cannot write {data.dtype} {data.shape} to {self.path}: it wants {dtype} {shape} there")
        begun = store[where].write(data, can_reference_source_data_indefinitely=True)

        def end() -> None:
            try:
                begun.result()
            except (ValueError, OSError) as error:
                if is_refusal(error) or _fails(self.path, error):
                    raise _stopped(self.path, error) from error
                self._write_over_broken(where, data, error)

        return end

    def _write_over_broken(self, where: tuple[slice, ...], data: np.ndarray, error: Exception) -> None:
        """Replace broken shards as a whole: tensorstore reads an old one at the array's border, and stops where it is broken."""
        names = self.shards and whole_shards(where, self.shards, self.shape)
        if not names:
            raise BlockError(f"cannot write {self.path}: {error}") from error
        try:
            replace_shards(self.path, names, lambda aside: Array(path=aside)._store[where].write(data).result())
        except (ValueError, OSError) as again:
            if isinstance(again, OSError) or is_refusal(again) or _fails(self.path, again):
                raise _stopped(self.path, again) from again
            raise BlockError(f"cannot write {self.path}: {again}") from again


def _fails(path: str, error: Exception) -> bool:
    return is_remote(path) and is_of_the_store(error)


def _stopped(path: str, error: Exception) -> StoppedError:
    if is_remote(path):
        return StoppedError(str(explained(path, error, doing="written")))
    return StoppedError(f"cannot write {path}: {reason(error)}; free or repair the disk, then repeat the command")


def _spec(driver: str, kvstore: dict[str, Any], missing: str) -> dict[str, Any]:
    return {
        "driver": driver,
        "kvstore": kvstore,
        "store_data_equal_to_fill_value": True,
        "fill_missing_data_reads": missing == "fill",
    }


def _open_remote(path: str, missing: str) -> Any:
    """An array of a store."""
    try:
        return ts.open(_spec("zarr3", kvstore(path), missing), context=context(), open=True).result()
    except (ValueError, OSError) as error:
        if is_of_the_store(error):
            raise StoppedError(str(explained(path, error))) from error
        if "NOT_FOUND" in str(error):
            raise InputError(f"no Zarr array at {path}; run the stage that writes it, or correct the address") from error
        raise InputError(f"cannot open {path} as a Zarr array: {error}") from error


@lru_cache(maxsize=64)
def _open(path: str, name: str, missing: str, modified: int, inode: int) -> Any:
    """The open array; the last two arguments only tell one array from a later one at the same path."""
    spec = _spec("zarr3" if name == "zarr.json" else "zarr", {"driver": "file", "path": path}, missing)
    try:
        return ts.open(spec, context=context(), open=True).result()
    except (ValueError, OSError) as error:
        raise InputError(f"cannot open {path} as a Zarr array: {error}") from error
