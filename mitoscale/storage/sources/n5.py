"""N5 datasets, and pyramids of them whose finest level is ``s0``. Specification: https://github.com/saalfeldlab/n5"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.core.source_choices import Reading
from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.lengths import nanometers
from mitoscale.storage.places import read_json
from mitoscale.storage.sources.reader import Kind, Look, PartialSpacing
from mitoscale.storage.sources.stored_array import StoredArray, open_stored
from mitoscale.storage.sources.voxel_size import from_attributes

FILE = "attributes.json"
_USUAL = "xyzct"
"""N5 counts its axes from the fastest on."""
_LISTED = 8


def open_n5(look: Look, reading: Reading) -> StoredArray:
    """Open a dataset, or the finest level of a pyramid.

    Parameters
    ----------
    look : Look
        What the path leads to.
    reading : Reading
        What the user has decided of it.

    Raises
    ------
    InputError
        If there is none, or its axes are not clear; the datasets there are, are listed.
    """
    array, own = look.path, look.metadata[FILE]
    if "dimensions" not in own:
        array = join(array, "s0")
        own = read_json(array, (FILE,)).get(FILE, {})
    if "dimensions" not in own:
        there = [] if is_remote(look.path) else datasets(look.path)
        listed = f"; it has {', '.join(there[:_LISTED])}{' ...' if len(there) > _LISTED else ''}" if there else ""
        example = join(look.path, (there or ["raw"])[0])
        raise InputError(f"{look.path} is no N5 dataset{listed}; give the path of one, such as {example}")
    attributes = {**look.metadata[FILE], **own}
    names = own.get("axes")
    if not isinstance(names, list) or len(names) != len(own["dimensions"]):
        names = list(_USUAL[: len(own["dimensions"])])
    found = open_stored(look.path, "n5", names, reading, array=array, fill_missing_data_reads=True)
    spacing, hint = from_attributes(attributes, found.order)
    transform = own.get("transform", {})
    if isinstance(transform, dict) and "scale" in transform:
        spacing = _of_transform(transform)
    return replace(found, about=json.dumps(own, sort_keys=True), spacing=spacing, hint=hint)


def datasets(path: str) -> list[str]:
    """Datasets of a local N5 container, by their path in it."""
    found = []
    for folder, inside, files in os.walk(path):
        if FILE in files and "dimensions" in read_json(folder, (FILE,))[FILE]:
            found.append(os.path.relpath(folder, path))
            inside.clear()  # nothing but chunks below
        inside.sort()
    return found


KIND = Kind(name="N5", recognises=lambda look: FILE in look.metadata, open=open_n5)


def _of_transform(transform: dict[str, Any]) -> PartialSpacing:
    """Voxel size of COSEM's attribute: ``axes``, ``scale`` and ``units`` side by side."""
    units = transform.get("units", [])
    sizes = {
        axis: float(scale) * factor
        for axis, scale, unit in zip(transform.get("axes", []), transform["scale"], units, strict=False)
        if (factor := nanometers(unit)) is not None
    }
    return sizes.get("z"), sizes.get("y"), sizes.get("x")
