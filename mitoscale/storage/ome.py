"""OME-Zarr images and labels: version 0.5 is written; 0.4 (Zarr v2) is read too.

Specification: https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from typing import Any

import zarr
from pydantic import ValidationError

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.geometry import Spacing, Triple
from mitoscale.core.volume import VolumeSpec
from mitoscale.storage.arrays import Array, create_array, open_array

_VERSION = "0.5"
_NANOMETERS = {
    "picometer": 1e-3,
    "angstrom": 0.1,
    "nanometer": 1.0,
    "nm": 1.0,
    "micrometer": 1e3,
    "micron": 1e3,
    "um": 1e3,
    "µm": 1e3,
    "millimeter": 1e6,
    "centimeter": 1e7,
    "meter": 1e9,
}
_PROBED_BYTES = 65_536


@dataclass(frozen=True)
class OmeImage:
    """An image or labels that were opened."""

    spec: VolumeSpec
    """Shape, dtype, voxel size in nm and levels."""
    level_paths: tuple[str, ...]
    """Absolute path of each level's array, finest first; as many as ``spec.factors``."""
    fingerprint: str
    """Digest of the metadata and of the first and last chunk's beginning, 64 hex digits."""


def create_image(
    path: str, spec: VolumeSpec, *, name: str, attributes: dict[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Make an OME-Zarr 0.5 image with empty levels ``0``, ``1``, ...

    Where the same image is there already its voxels stay and its attributes are renewed.

    Parameters
    ----------
    path : str
        The image's group.
    spec : VolumeSpec
        Shape, dtype, voxel size and levels.
    name : str
        Name of the image in its metadata.
    attributes : dict, optional
        Stored beside ``ome``, as ``mitoscale``.
    overwrite : bool
        Remove levels that are there first, with their voxels.

    Raises
    ------
    InputError
        If other arrays are there already, or a Zarr v2 group.
    StoppedError
        If it cannot be written.
    """
    _create_levels(path, spec, overwrite)
    _set(path, {"version": _VERSION, "multiscales": [_multiscale(spec, name, "mean")]}, attributes)


def create_labels(
    path: str, name: str, spec: VolumeSpec, *, attributes: dict[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Make OME-Zarr 0.5 labels with empty levels, as ``labels/NAME`` of an image; other labels there stay listed.

    Parameters
    ----------
    path : str
        The image's group; where there is none, a group that holds labels alone is made.
    name : str
        Name of the labels.
    spec : VolumeSpec
        Shape, dtype (any integer), voxel size and levels.
    attributes, overwrite
        See :func:`create_image`, whose errors are raised too.
    """
    if os.path.exists(os.path.join(path, ".zgroup")):
        raise InputError(f"{path} is Zarr v2 (OME-Zarr 0.4): labels cannot be added to it; leave --labels-into-source")
    labels = os.path.join(path, "labels")
    _create_levels(os.path.join(labels, name), spec, overwrite)
    label = {"version": _VERSION, **({"source": {"image": "../../"}} if _multiscales(path) else {})}
    ome = {"version": _VERSION, "multiscales": [_multiscale(spec, name, "mode")], "image-label": label}
    _set(os.path.join(labels, name), ome, attributes)
    others = _attributes(labels).get("ome", {}).get("labels", [])
    _set(labels, {"version": _VERSION, "labels": [*others, *([] if name in others else [name])]}, None)
    if not os.path.exists(os.path.join(path, "zarr.json")):
        _set(path, None, None)


def open_image(path: str, *, spacing: Spacing | None = None) -> OmeImage:
    """An OME-Zarr image or labels, its voxel size converted to nm.

    Levels count up to the first whose voxels do not span a whole number of the finest level's; the rest is left out.

    Parameters
    ----------
    path : str
        The group that has ``multiscales``.
    spacing : (z, y, x), optional
        Voxel size in nm that replaces what the metadata say, or do not say.

    Raises
    ------
    InputError
        If there is no image, its axes are not z, y, x, or its unit or scale is missing or unknown.
    """
    path = os.path.abspath(os.path.expanduser(path))
    multiscales = _multiscales(path)
    if not multiscales:
        raise InputError(f"{path} has no OME-Zarr image (no multiscales in its metadata); give the group that has")
    try:
        multiscale = multiscales[0]
        datasets = [str(d["path"]) for d in multiscale["datasets"]]
        arrays = [open_array(os.path.join(path, d), missing="fill") for d in datasets]
        names = [a["name"] if isinstance(a, dict) else a for a in multiscale["axes"]]
        if names != ["z", "y", "x"] or len(arrays[0].shape) != 3:
            raise InputError(f"{path} has axes {', '.join(names)}; only z, y, x is read: store one channel as 3-D")
        scales = [_scale(multiscale, d) for d in multiscale["datasets"]]
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise InputError(f"the OME-Zarr metadata of {path} are not valid: {type(error).__name__} {error}") from error
    level0 = spacing or _in_nm(path, scales[0], multiscale["axes"])
    return _image(path, arrays, _factors(arrays, scales), level0, _fingerprint(multiscale, arrays[0]))


def is_ome_zarr(path: str) -> bool:
    """Whether ``path`` is a Zarr group (:func:`open_image` says what it lacks) and not a Zarr array, file or folder."""
    path = os.path.expanduser(path)
    if os.path.isfile(os.path.join(path, "zarr.json")):
        return _metadata(os.path.join(path, "zarr.json")).get("node_type") != "array"
    return os.path.isfile(os.path.join(path, ".zgroup"))


def _create_levels(path: str, spec: VolumeSpec, overwrite: bool) -> None:
    for level in range(len(spec.factors)):
        create_array(
            os.path.join(path, str(level)),
            shape=spec.level_shape(level),
            dtype=spec.dtype,
            chunks=spec.level_chunks(level),
            shards=spec.level_shards(level),
            overwrite=overwrite,
        )


def _multiscale(spec: VolumeSpec, name: str, method: str) -> dict[str, Any]:
    """The ``multiscales`` entry. A coarse voxel's centre is the mean of the centres it spans, hence the translation."""
    datasets = []
    for level, factor in enumerate(spec.factors):
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": list(spec.level_spacing(level))}]
        shift = [s * (f - 1) / 2 for s, f in zip(spec.spacing, factor, strict=True)]
        if any(shift):
            transforms.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    return {"name": name, "axes": axes, "datasets": datasets, "type": method}


def _set(path: str, ome: dict[str, Any] | None, attributes: dict[str, Any] | None) -> None:
    """Make the group where it is missing, and set its ``ome`` and ``mitoscale`` attributes where they are given."""
    if os.path.exists(os.path.join(path, ".zgroup")):
        raise InputError(f"{path} is Zarr v2; OME-Zarr {_VERSION} needs v3: choose another path")
    given = {**({"ome": ome} if ome else {}), **({"mitoscale": attributes} if attributes else {})}
    try:
        zarr.open_group(path, mode="a", zarr_format=3).attrs.update(given)
    except OSError as error:
        raise StoppedError(f"cannot write {path}: {error.strerror or error}; free or repair the disk") from error


def _metadata(file: str) -> dict[str, Any]:
    """A metadata file's content; empty where there is none."""
    try:
        with open(file, encoding="utf-8") as stream:
            content = json.load(stream)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {file}: {error}; restore it") from error
    if not isinstance(content, dict):
        raise InputError(f"cannot read {file}: it holds no JSON object; restore it")
    return content


def attributes_of(path: str) -> dict[str, Any]:
    """What :func:`create_image` or :func:`create_labels` got as ``attributes``; empty where there is none."""
    found = _attributes(path).get("mitoscale", {})
    return found if isinstance(found, dict) else {}


def _attributes(path: str) -> dict[str, Any]:
    """Attributes of a Zarr v3 or v2 group; empty where there are none."""
    return _metadata(os.path.join(path, "zarr.json")).get("attributes", {}) or _metadata(os.path.join(path, ".zattrs"))


def _multiscales(path: str) -> list[Any]:
    attributes = _attributes(path)
    return attributes.get("ome", attributes).get("multiscales", [])


def _scale(multiscale: dict[str, Any], dataset: dict[str, Any]) -> Spacing | None:
    """Voxel size (z, y, x) of a level in the axes' units: its own scale times that of all levels; None without one."""
    own = [t["scale"] for t in dataset.get("coordinateTransformations", []) if t["type"] == "scale"]
    if not own:
        return None
    result = [1.0, 1.0, 1.0]
    for scale in own + [t["scale"] for t in multiscale.get("coordinateTransformations", []) if t["type"] == "scale"]:
        result = [a * float(b) for a, b in zip(result, scale, strict=True)]
    return result[0], result[1], result[2]


def _in_nm(path: str, scale: Spacing | None, axes: list[Any]) -> Spacing:
    if scale is None:
        raise InputError(f"the finest level of {path} has no scale; give --voxel-size Z,Y,X in nm")
    result = []
    for value, axis in zip(scale, axes, strict=True):
        unit = axis.get("unit") if isinstance(axis, dict) else None
        if unit not in _NANOMETERS:
            said = f"the unknown unit {unit!r}" if unit else "no unit"
            raise InputError(f"an axis of {path} has {said}; give --voxel-size Z,Y,X in nm")
        result.append(value * _NANOMETERS[unit])
    return result[0], result[1], result[2]


def _factors(arrays: list[Array], scales: list[Spacing | None]) -> tuple[Triple, ...]:
    """How many finest voxels a voxel of each level spans, up to the first level that does not span a whole number."""
    factors: list[Triple] = [(1, 1, 1)]
    for array, scale in zip(arrays[1:], scales[1:], strict=True):
        if scale is None or scales[0] is None or not min(scales[0]) > 0:
            break
        ratios = [s / f for s, f in zip(scale, scales[0], strict=True)]
        z, y, x = (round(r) for r in ratios)
        whole = all(abs(r - n) < 1e-3 * n for r, n in zip(ratios, (z, y, x), strict=True))
        if not whole or array.shape != tuple(-(-n // f) for n, f in zip(arrays[0].shape, (z, y, x), strict=True)):
            break
        factors.append((z, y, x))
    return tuple(factors)


def _image(path: str, arrays: list[Array], factors: tuple[Triple, ...], spacing: Spacing, fingerprint: str) -> OmeImage:
    """Gather the levels; where an array has no shards, as many chunks as all factors divide count as one."""
    finest = arrays[0]
    wanted = finest.shards or finest.chunks
    shards = tuple(math.lcm(s, *(f[axis] for f in factors)) for axis, s in enumerate(wanted))
    try:
        spec = VolumeSpec(
            shape=finest.shape,
            dtype=str(finest.dtype),
            spacing=spacing,
            chunks=finest.chunks,
            shards=shards,
            factors=factors,
        )
    except ValidationError as error:
        raise InputError(f"{path}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    return OmeImage(spec=spec, level_paths=tuple(a.path for a in arrays[: len(factors)]), fingerprint=fingerprint)


def _fingerprint(multiscale: dict[str, Any], array: Array) -> str:
    """Digest of the metadata and, so as not to list millions of chunks, of two of them."""
    digest = hashlib.sha256(json.dumps(multiscale, sort_keys=True).encode())
    digest.update(f"{array.shape}{array.dtype}{array.chunks}".encode())
    for pick in (min, max):
        file = array.path
        while os.path.isdir(file):
            inside = [n for n in os.listdir(file) if n not in ("zarr.json", "__lock") and not n.startswith(".")]
            if not inside:
                break
            file = os.path.join(file, pick(inside))
        if os.path.isfile(file):
            digest.update(f"{os.path.relpath(file, array.path)} {os.path.getsize(file)}".encode())
            with open(file, "rb") as stream:
                digest.update(stream.read(_PROBED_BYTES))
    return digest.hexdigest()
