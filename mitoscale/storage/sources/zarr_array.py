"""Plain Zarr arrays, v2 and v3, with the axes' names where they are told (``dimension_names``, xarray's ``_ARRAY_DIMENSIONS``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources.axes import usual
from mitoscale.storage.sources.ome_zarr import attributes_of
from mitoscale.storage.sources.reader import Kind, Look
from mitoscale.storage.sources.stored_array import StoredArray, open_stored
from mitoscale.storage.sources.voxel_size import from_attributes


def open_zarr(look: Look, reading: Reading) -> StoredArray:
    """Open an array; raises InputError where that cannot be, or its axes are not clear.

    Parameters
    ----------
    look : Look
        What the path leads to.
    reading : Reading
        What the user has decided of it.
    """
    third = "zarr.json" in look.metadata
    metadata = look.metadata["zarr.json" if third else ".zarray"]
    attributes = attributes_of(look.metadata)
    names = metadata.get("dimension_names") or attributes.get("_ARRAY_DIMENSIONS")
    rank = len(metadata.get("shape", []))
    found = open_stored(look.path, "zarr3" if third else "zarr", _sensible(names, rank), reading, fill_missing_data_reads=True)
    spacing, hint = from_attributes(attributes, found.order)
    return replace(found, about=json.dumps(metadata, sort_keys=True), spacing=spacing, hint=hint)


KIND = Kind(
    name="Zarr array",
    recognises=lambda look: ".zarray" in look.metadata or look.metadata.get("zarr.json", {}).get("node_type") == "array",
    open=open_zarr,
)


def _sensible(names: Sequence[str | None] | None, rank: int) -> Sequence[str]:
    """The names where they are an axis's each; such as ``dim_0`` and ``block`` mean nothing here."""
    if not names or any(n is None or not {str(n).lower()} & {*"tczyx", "time", "channel", "plane", "row", "column"} for n in names):
        return usual(rank)
    return [str(n) for n in names]
