"""OME-Zarr images, version 0.4 (Zarr v2) and 0.5 (Zarr v3), local or in an object store.

Specification: https://ngff.openmicroscopy.org/0.5/ . Any order of axes is read, with one channel and one time of several.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing
from mitoscale.core.source_choices import Reading
from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.lengths import nanometers
from mitoscale.storage.places import read_json
from mitoscale.storage.sources.reader import Kind, Look, PartialSpacing
from mitoscale.storage.sources.stored_array import StoredArray, open_stored

GROUP_FILES = ("zarr.json", ".zgroup", ".zattrs")
"""Metadata files of a Zarr group."""

_ARRAY_FILES = ("zarr.json", ".zarray")
_MOST_SERIES = 100
_LARGEST_CHUNK = 2**27  # voxels: a block would read larger ones again and again


def is_group(metadata: Mapping[str, dict[str, Any]]) -> bool:
    """Whether metadata files are those of a Zarr group and not of an array."""
    if "zarr.json" in metadata:
        return metadata["zarr.json"].get("node_type") != "array"
    return ".zgroup" in metadata


def attributes_of(metadata: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Attributes of a Zarr v3 or v2 group or array; empty where there are none."""
    return metadata.get("zarr.json", {}).get("attributes", {}) or metadata.get(".zattrs", {})


def multiscales_of(metadata: Mapping[str, dict[str, Any]]) -> list[Any]:
    """The images a group holds."""
    attributes = attributes_of(metadata)
    found = attributes.get("ome", attributes).get("multiscales", [])
    return found if isinstance(found, list) else []


def open_image(look: Look, reading: Reading) -> StoredArray:
    """Open the finest level of an image.

    Parameters
    ----------
    look : Look
        The group that has ``multiscales``, or one with several images as bioformats2raw writes them.
    reading : Reading
        Which channel, time and series.

    Raises
    ------
    InputError
        If there is no image, or it is not clear which or what of it is meant.
    """
    path, metadata = look.path, look.metadata
    images = multiscales_of(metadata)
    if not images and "bioformats2raw.layout" in attributes_of(metadata).get("ome", attributes_of(metadata)):
        path = join(path, _series(path, reading))
        metadata = read_json(path, GROUP_FILES)
        images = multiscales_of(metadata)
    if not images:
        raise InputError(f"{path} has no OME-Zarr image (no multiscales in its metadata); give the group that has, or an array")
    try:
        multiscale = images[0]
        axes = [a if isinstance(a, dict) else {"name": a} for a in multiscale["axes"]]
        names = [str(a["name"]) for a in axes]
        dataset = multiscale["datasets"][0]
        array = join(path, str(dataset["path"]))
        driver = _driver(array)
        found = open_stored(
            look.path, driver, names, reading, array=array, channels=_channels(metadata), fill_missing_data_reads=True
        )
        scale, shift = _transforms(multiscale, dataset, len(axes))
        factors = [nanometers(a.get("unit")) for a in axes]
        local = not is_remote(path) and math.prod(found.chunks) <= _LARGEST_CHUNK
        return replace(
            found,
            in_place=local,
            about=json.dumps(multiscale, sort_keys=True),
            spacing=_spacing(found, scale, factors, path),
            origin=_origin(found, shift, factors),
            hint=_hint(axes, scale),
        )
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise InputError(f"the OME-Zarr metadata of {path} are not valid: {type(error).__name__} {error}") from error


KIND = Kind(name="OME-Zarr", recognises=lambda look: is_group(look.metadata), open=open_image)


def _driver(array: str) -> str:
    there = read_json(array, _ARRAY_FILES)
    if not there:
        raise InputError(f"no Zarr array at {array}, where the image's metadata say one is; restore it, or correct the path")
    return "zarr3" if "zarr.json" in there else "zarr"


def _series(path: str, reading: Reading) -> str:
    """Name of the image that is meant, of those that bioformats2raw has numbered."""
    listed = attributes_of(read_json(join(path, "OME"), GROUP_FILES))
    names = listed.get("ome", listed).get("series")
    if not names:
        names = []
        while len(names) < _MOST_SERIES and read_json(join(path, str(len(names))), GROUP_FILES):
            names.append(str(len(names)))
    wanted = 0 if reading.series is None and len(names) == 1 else reading.series
    if wanted is None or wanted >= len(names):
        few = ", ".join(map(str, names[:5]))
        raise InputError(f"{path} holds {len(names)} images ({few}, ...); choose one with --series 0 .. {len(names) - 1}")
    return str(names[wanted])


def _channels(metadata: Mapping[str, dict[str, Any]]) -> str:
    attributes = attributes_of(metadata)
    listed = attributes.get("ome", attributes).get("omero", {}).get("channels", [])
    return ", ".join(f"{n}: {c.get('label', '?')}" for n, c in enumerate(listed) if isinstance(c, dict))


def _transforms(multiscale: dict[str, Any], dataset: dict[str, Any], rank: int) -> tuple[list[float] | None, list[float]]:
    """Scale and translation of the finest level in the axes' units; its own first, then those of all levels."""
    scale: list[float] | None = None
    shift = [0.0] * rank
    for transform in [*dataset.get("coordinateTransformations", []), *multiscale.get("coordinateTransformations", [])]:
        values = transform.get(transform["type"], [])
        if transform["type"] == "scale":
            scale = [a * float(b) for a, b in zip(scale or [1.0] * rank, values, strict=True)]
            shift = [a * float(b) for a, b in zip(shift, values, strict=True)]
        elif transform["type"] == "translation":
            shift = [a + float(b) for a, b in zip(shift, values, strict=True)]
    return scale, shift


def _spacing(found: StoredArray, scale: list[float] | None, factors: Sequence[float | None], path: str) -> PartialSpacing:
    if scale is None:
        return None, None, None
    sizes = [None if f is None else s * f for s, f in zip(scale, factors, strict=True)]
    z, y, x = (sizes[found.order.names.index(n)] if n in found.order.names else None for n in "zyx")
    bad = [size for size in (z, y, x) if size is not None and not size > 0]
    if bad:
        raise InputError(f"{path}: voxel size {bad[0]:g} nm must be above 0; give the right one as --voxel-size Z,Y,X in nm")
    return z, y, x


def _origin(found: StoredArray, shift: list[float], factors: Sequence[float | None]) -> Spacing:
    at = [0.0 if f is None else s * f for s, f in zip(shift, factors, strict=True)]
    z, y, x = (at[found.order.names.index(n)] if n in found.order.names else 0.0 for n in "zyx")
    return z, y, x


def _hint(axes: list[dict[str, Any]], scale: list[float] | None) -> str:
    """What is said of the voxel size where it is not enough."""
    space = [(a, s) for a, s in zip(axes, scale or [], strict=False) if a["name"] in set("zyx")]
    if scale is None:
        return "its finest level has no scale"
    unknown = [(a, s) for a, s in space if nanometers(a.get("unit")) is None]
    if not unknown:
        return ""
    unit = unknown[0][0].get("unit")
    said = f"the unknown unit {unit!r}" if unit else "no unit"
    shown = ", ".join(f"{a['name']} {s:g}" for a, s in space)
    return f"its scale is {shown}, and axis {unknown[0][0]['name']} has {said}"
