"""An array of chunks read with tensorstore, where it lies: Zarr, N5, Neuroglancer precomputed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tensorstore as ts

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.source_choices import Reading
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.places import explained, kvstore
from mitoscale.storage.sources import fingerprint
from mitoscale.storage.sources.axes import AxisOrder, axis_order
from mitoscale.storage.sources.reader import PartialSpacing, check_within, native
from mitoscale.storage.tensorstore_context import context


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """A :class:`~mitoscale.storage.sources.reader.Reader`; get one from :func:`open_stored`."""

    path: str
    """What was named."""
    array: str
    """Where the array itself lies."""
    spec: str
    """tensorstore's, as JSON."""
    order: AxisOrder
    """How its axes are looked at."""
    shape: Triple
    """(z, y, x) in voxels."""
    dtype: str
    """NumPy name."""
    chunks: Triple
    """(z, y, x) voxels."""
    spacing: PartialSpacing = (None, None, None)
    """Voxel size (z, y, x) in nm, where it is told."""
    origin: Spacing = (0.0, 0.0, 0.0)
    """In nm."""
    hint: str = ""
    """See the protocol."""
    about: str = ""
    """The metadata that belong to the volume's identity."""
    in_place: bool = False
    """Whether a run reads it where it lies; else it is converted."""

    @property
    def fingerprint(self) -> str:
        """64 hex digits."""
        about = f"{self.about}{self.order}{self.shape}{self.dtype}"
        try:
            return fingerprint.of_voxels(self.read, self.shape, self.dtype, about)
        except BlockError as error:
            raise InputError(str(error)) from error

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region; chunks that were never written are the array's fill value, as its format says.

        Raises
        ------
        ValueError, BlockError
            As the protocol says.
        """
        check_within(region, self.shape)
        try:
            data = _opened(self.spec, _stamp(self.spec))[self.order.index(region)].read(order="C").result()
        except (ValueError, OSError) as error:
            raise BlockError(str(explained(self.array, error))) from error
        return np.ascontiguousarray(self.order.arranged(data), dtype=self.dtype)


def open_stored(
    path: str, driver: str, names: Sequence[str], reading: Reading, *, array: str = "", channels: str = "", **options: Any
) -> StoredArray:
    """Open an array.

    Parameters
    ----------
    path : str
        What was named, for errors.
    driver : str
        tensorstore's driver.
    names : sequence of str
        The axes' names, in tensorstore's order.
    reading : Reading
        The user's decisions.
    array : str
        Where the array lies, if not at ``path``.
    channels : str
        Names of its channels, for errors.
    **options
        More of tensorstore's specification.

    Raises
    ------
    InputError
        If it cannot be opened, or it is not clear what of it is meant.
    """
    array = array or path
    spec = json.dumps({"driver": driver, "kvstore": kvstore(array), **options})
    try:
        store = _opened(spec, _stamp(spec))
    except (ValueError, OSError) as error:
        said = explained(array, error)
        raise said if is_remote(array) else InputError(f"cannot open {array} as {driver}: {error}".replace("\n", " ")) from error
    order = axis_order(names, store.shape, reading, array, channels)
    found = StoredArray(
        path=path,
        array=array,
        spec=spec,
        order=order,
        shape=order.shape(store.shape),
        dtype=native(store.dtype.numpy_dtype),
        chunks=order.picked(store.chunk_layout.read_chunk.shape, 1),
    )
    if not all(found.shape):
        raise InputError(f"{array} is empty: its shape is {tuple(store.shape)}")
    return found


def _stamp(spec: str) -> tuple[int, ...]:
    """Time and identity of a local array's metadata: one that was removed and made anew is opened anew."""
    store = json.loads(spec)["kvstore"]
    if store["driver"] != "file":
        return ()
    for name in ("zarr.json", ".zarray", "attributes.json", "info"):
        try:
            status = os.stat(os.path.join(store["path"], name))
        except OSError:
            continue
        return status.st_mtime_ns, status.st_ino
    return ()


@lru_cache(maxsize=64)
def _opened(spec: str, stamp: tuple[int, ...]) -> Any:
    store = ts.open(json.loads(spec), context=context(), open=True, read=True).result()
    return store[ts.d[:].translate_to[0]]  # precomputed volumes may begin elsewhere
