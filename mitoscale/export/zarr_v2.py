"""OME-Zarr 0.4, which is Zarr v2: for tools that do not know Zarr v3. Specification: https://ngff.openmicroscopy.org/0.4/"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mitoscale.core.provenance import Provenance
from mitoscale.export.chunk_copy import chunk_of, copy
from mitoscale.export.exported import Content
from mitoscale.export.kind import Kind
from mitoscale.export.level import Level
from mitoscale.storage.layout import write_json
from mitoscale.storage.new_chunked import create_zarr2

_VERSION = "0.4"
_UNITS = {"nanometer": 1.0, "micrometer": 1e-3}


def write(content: Content, path: str) -> None:
    """Write the labels with their pyramid.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The group.
    """
    provenance = Provenance.of(content.plan.settings).model_dump(mode="json")
    more = {"image-label": {"version": _VERSION}, "mitoscale": {"provenance": provenance, "region": str(content.region)}}
    write_pyramid(content.labels, path, name="mitochondria", attributes=more)


def write_pyramid(levels: Sequence[Level], path: str, *, name: str, attributes: dict[str, Any], unit: str = "nanometer") -> None:
    """Write levels as arrays ``0``, ``1``, ... of a group.

    Parameters
    ----------
    levels : sequence of Level
        Finest first.
    path : str
        The group.
    name : str
        Name of the image in its metadata.
    attributes : dict
        What the group has beside ``multiscales``.
    unit : str
        ``nanometer`` or ``micrometer``: what scales and translations are told in.
    """
    for number, level in enumerate(levels):
        copy(level, create_zarr2(os.path.join(path, str(number)), level.shape, level.dtype, chunk_of(level)))
    write_json(os.path.join(path, ".zgroup"), {"zarr_format": 2})
    write_json(os.path.join(path, ".zattrs"), {"multiscales": [_multiscale(levels, name, unit)], **attributes})


KIND = Kind(name="zarr2", endings=(".ome.zarr", ".zarr"), write=write, folder=True)


def _multiscale(levels: Sequence[Level], name: str, unit: str) -> dict[str, Any]:
    datasets = []
    for number, level in enumerate(levels):
        scale, shift = ([value * _UNITS[unit] for value in values] for values in (level.spacing, level.origin))
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    axes = [{"name": axis, "type": "space", "unit": unit} for axis in "zyx"]
    return {"version": _VERSION, "name": name, "axes": axes, "datasets": datasets}
