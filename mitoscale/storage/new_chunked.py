"""New arrays of chunks in the formats of other programs: Zarr v2, N5, Neuroglancer precomputed; written with tensorstore.

Chunks that hold nothing but 0 are not stored: all three formats read them as 0.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

from mitoscale.core.errors import StoppedError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.storage.tensorstore_context import context
from mitoscale.storage.tensorstore_errors import is_refusal, reason

PRECOMPUTED_CHUNK = 64
"""Edge of a precomputed volume's chunks: what a viewer asks for at once."""
_SHARD_BITS = 6
"""2^6 chunks share a file: 128 MiB of labels at most are written at once."""


@dataclass(frozen=True, kw_only=True)
class NewChunked:
    """An array that is being written."""

    path: str
    """Its folder."""
    store: Any
    """tensorstore's."""
    axes: str
    """The stored order of its axes, such as ``xyz``."""

    @property
    def step(self) -> Triple:
        """What is best written at once (z, y, x): a chunk, or a shard."""
        size = dict(zip(self.axes, self.store.chunk_layout.write_chunk.shape, strict=True))
        return size["z"], size["y"], size["x"]

    def write(self, region: Region, voxels: np.ndarray) -> None:
        """Write voxels.

        Parameters
        ----------
        region : Region
            Where, in voxels from the array's corner; whole chunks but at the end, or they are written again and again.
        voxels : (Z, Y, X) array
            Of the array's dtype.

        Raises
        ------
        StoppedError
            If the disk is full or cannot be written.
        """
        index = dict(zip("zyx", region.slices, strict=True)) | {"c": slice(0, 1)}
        order = ["zyx".index(axis) for axis in self.axes if axis != "c"]
        stored = voxels.transpose(order)
        stored = stored[..., None] if "c" in self.axes else stored
        try:
            here = self.store[ts.d[:].translate_to[0]]  # precomputed volumes begin at their offset
            begun = here[tuple(index[axis] for axis in self.axes)].write(stored)
            try:
                begun.result()
            except KeyboardInterrupt:  # it would go on while its folder is removed
                with suppress(ValueError, OSError):
                    begun.result()
                raise
        except (ValueError, OSError) as error:
            raise _stopped(self.path, error) from error


def create_zarr2(path: str, shape: Triple, dtype: np.dtype, chunks: Triple) -> NewChunked:
    """Make a Zarr v2 array (z, y, x), its chunks in folders, compressed with zlib, which every reader knows.

    Parameters
    ----------
    path : str
        Its folder.
    shape, chunks : (z, y, x)
        In voxels.
    dtype : dtype
        Of its voxels.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    metadata = {
        "shape": shape,
        "chunks": chunks,
        "dtype": dtype.newbyteorder("<").str,
        "compressor": {"id": "zlib", "level": 1},
        "fill_value": 0,
        "order": "C",
        "dimension_separator": "/",
    }
    return _create(path, "zarr", "zyx", {"metadata": metadata})


def create_n5(path: str, shape: Triple, dtype: np.dtype, chunks: Triple) -> NewChunked:
    """Make an N5 dataset (x, y, z), compressed with gzip, which every reader knows.

    Parameters
    ----------
    path : str
        Its folder.
    shape, chunks : (z, y, x)
        In voxels.
    dtype : dtype
        Of its voxels.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    metadata = {
        "dimensions": shape[::-1],
        "blockSize": chunks[::-1],
        "dataType": dtype.name,
        "compression": {"type": "gzip", "level": 1},
    }
    return _create(path, "n5", "xyz", {"metadata": metadata})


def precomputed_scale(shape: Triple, offset: Triple, spacing: Spacing, encoding: str) -> dict[str, Any]:
    """A scale of a Neuroglancer precomputed volume, in shards of 64 chunks.

    Parameters
    ----------
    shape : (z, y, x)
        In voxels.
    offset : (z, y, x)
        Of its corner, in voxels.
    spacing : (z, y, x)
        Voxel size in nm.
    encoding : str
        ``raw`` or ``compressed_segmentation``.
    """
    chunk = [min(PRECOMPUTED_CHUNK, n) for n in shape[::-1]]
    bits = sum((-(-n // c) - 1).bit_length() for n, c in zip(shape[::-1], chunk, strict=True))
    inside = min(bits, _SHARD_BITS)
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "hash": "identity",
        "preshift_bits": inside,
        "minishard_bits": 0,
        "shard_bits": bits - inside,
        "minishard_index_encoding": "gzip",
        "data_encoding": "gzip",
    }
    block = {"compressed_segmentation_block_size": [8, 8, 8]} if encoding == "compressed_segmentation" else {}
    return {
        "key": "_".join(f"{size:g}" for size in spacing[::-1]),
        "size": list(shape[::-1]),
        "voxel_offset": list(offset[::-1]),
        "resolution": list(spacing[::-1]),
        "encoding": encoding,
        "chunk_size": chunk,
        "sharding": sharding,
        **block,
    }


def create_precomputed(path: str, scale: dict[str, Any], dtype: np.dtype, kind: str) -> NewChunked:
    """Make a scale of a Neuroglancer precomputed volume; the first one makes the volume too.

    Parameters
    ----------
    path : str
        The volume's folder.
    scale : dict
        From :func:`precomputed_scale`.
    dtype : dtype
        Of its voxels.
    kind : str
        ``image`` or ``segmentation``.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    whole = {"type": kind, "data_type": dtype.name, "num_channels": 1}
    return _create(path, "neuroglancer_precomputed", "xyzc", {"multiscale_metadata": whole, "scale_metadata": scale})


def _create(path: str, driver: str, axes: str, options: dict[str, Any]) -> NewChunked:
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True, **options}
    try:
        return NewChunked(path=path, store=ts.open(spec, context=context()).result(), axes=axes)
    except (ValueError, OSError) as error:
        if not is_refusal(error):
            raise
        raise _stopped(path, error) from error


def _stopped(path: str, error: Exception) -> StoppedError:
    return StoppedError(f"cannot write {path}: {reason(error)}; free or repair the disk, then repeat the command")
