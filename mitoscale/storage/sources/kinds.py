"""All kinds of sources, and opening whichever a path names."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.source_choices import Reading
from mitoscale.storage.addresses import absolute, is_remote
from mitoscale.storage.places import nothing_at, read_json
from mitoscale.storage.sources import hdf5, mrc, n5, ome_zarr, precomputed, raw, tiff_kind, zarr_array
from mitoscale.storage.sources.reader import Kind, Look, Reader
from mitoscale.storage.tiff import TiffSource

KINDS: tuple[Kind, ...] = (
    zarr_array.KIND,
    ome_zarr.KIND,
    n5.KIND,
    precomputed.KIND,
    hdf5.KIND,
    mrc.KIND,
    raw.KIND,
    tiff_kind.KIND,
)
"""Asked in this order; the last takes what nobody else knows."""

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")
"""What grey values may be."""
LABEL_DTYPES = (*DTYPES, "uint32", "int32", "uint64", "int64", "float16", "float64")
"""What labels may be, and the probabilities that a threshold makes a mask of."""

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", n5.FILE, precomputed.FILE)
_PREFIX = re.compile(r"(precomputed|zarr|zarr2|zarr3|n5|file)://(?=\w+://|/)")
"""What Neuroglancer puts before an address to say its kind."""


def look_at(path: str) -> tuple[Look, Kind]:
    """What a path names, and its kind.

    Raises
    ------
    InputError
        If there is nothing at an address, or metadata are damaged.
    """
    path = absolute(_PREFIX.sub("", path))
    remote = is_remote(path)
    metadata = read_json(path, _METADATA) if remote or os.path.isdir(path) else {}
    look = Look(path, metadata)
    kind = next(k for k in KINDS if k.recognises(look))
    if remote and kind is tiff_kind.KIND:
        raise nothing_at(path, ", ".join(_METADATA))
    return look, kind


def open_reader(path: str, reading: Reading | None = None, *, labels: bool = False) -> Reader:
    """Open a volume of any kind.

    Parameters
    ----------
    path : str
        A file, folder, glob or address.
    reading : Reading, optional
        What the user has decided of it.
    labels : bool
        Accept 32 and 64-bit integers, and all floats, too.

    Raises
    ------
    InputError
        If there is none, it is damaged, of a dtype that is not read, or it is not clear what of it is meant.
    """
    reading = reading or Reading()
    look, kind = look_at(path)
    if reading.shape is not None and kind is tiff_kind.KIND and os.path.isfile(look.path) and not tiff_kind.is_slice(look.path):
        kind = raw.KIND
    found = kind.open(look, reading)
    if labels and isinstance(found, TiffSource):
        found = replace(found, as_stored=True)
    wanted = LABEL_DTYPES if labels else DTYPES
    if found.dtype not in wanted:
        raise InputError(f"{found.path} holds {np.dtype(found.dtype)}; convert it to one of {', '.join(wanted)}")
    return found
