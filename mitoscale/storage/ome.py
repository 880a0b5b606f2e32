"""OME-Zarr images and labels of version 0.5, as they are written; :mod:`mitoscale.storage.sources.ome_zarr` reads them.

Specification: https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.volume import VolumeSpec
from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.arrays import create_array
from mitoscale.storage.layout import write_json
from mitoscale.storage.stored_files import is_file, read, remove_tree

_VERSION = "0.5"


def create_image(path: str, spec: VolumeSpec, *, name: str, attributes: dict[str, Any] | None = None) -> None:
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

    Raises
    ------
    InputError
        If other arrays are there already, or a Zarr v2 group.
    StoppedError
        If it cannot be written.
    """
    _create_levels(path, spec)
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
    attributes : dict, optional
        Stored beside ``ome``, as ``mitoscale``.
    overwrite : bool
        Replace labels of this name, with their voxels.

    Raises
    ------
    InputError, StoppedError
        As :func:`create_image`.

    Notes
    -----
    New labels are made beside their place, as ``.NAME.new``, and renamed: killed at any moment, there are none, or whole ones with
    their attributes. Those they replace are ``.NAME.old`` until they are removed. What a kill left of either is removed the next
    time; the caller sees to it that two do not do this at once. A store cannot rename: there the group's own metadata are put last,
    and labels without them are none.
    """
    if is_file(join(path, ".zgroup")):
        raise InputError(f"{path} is Zarr v2 (OME-Zarr 0.4): labels cannot be added to it; leave --labels-into-source")
    labels = join(path, "labels")
    label = {"version": _VERSION, **({"source": {"image": "../../"}} if _multiscales(path) else {})}
    ome = {"version": _VERSION, "multiscales": [_multiscale(spec, name, "mode")], "image-label": label}
    with _whole(join(labels, name), overwrite) as group:
        _create_levels(group, spec)
        _set(group, ome, attributes)
    others = _attributes(labels).get("ome", {}).get("labels", [])
    _set(labels, {"version": _VERSION, "labels": [*others, *([] if name in others else [name])]}, None)
    if not is_file(join(path, "zarr.json")):
        _set(path, None, None)


def is_ome_zarr(path: str) -> bool:
    """Whether ``path`` is a Zarr group and not a Zarr array, file or folder."""
    path = os.path.expanduser(path)
    if is_file(join(path, "zarr.json")):
        return _metadata(join(path, "zarr.json")).get("node_type") != "array"
    return is_file(join(path, ".zgroup"))


@contextmanager
def _whole(group: str, overwrite: bool) -> Iterator[str]:
    """Where to make a group: in its place where it is there already, else beside it, to be renamed when it is complete."""
    if is_remote(group):
        if overwrite:
            remove_tree(group)
        yield group
        return
    folder, name = os.path.split(group)
    aside, old = (os.path.join(folder, f".{name}.{kind}") for kind in ("new", "old"))
    try:
        for left in (aside, old):
            if os.path.isdir(left):
                shutil.rmtree(left)
        there = os.path.isdir(group) and bool(os.listdir(group))
        if there and not overwrite:
            yield group
            return
        yield aside
        if there:
            os.rename(group, old)
        os.rename(aside, group)
        if there:
            shutil.rmtree(old)
    except OSError as error:
        raise StoppedError(f"cannot write {group}: {error.strerror or error}; free or repair the disk") from error


def _create_levels(path: str, spec: VolumeSpec) -> None:
    for level in range(len(spec.factors)):
        create_array(
            join(path, str(level)),
            shape=spec.level_shape(level),
            dtype=spec.dtype,
            chunks=spec.level_chunks(level),
            shards=spec.level_shards(level),
        )


def _multiscale(spec: VolumeSpec, name: str, method: str) -> dict[str, Any]:
    """The ``multiscales`` entry. A coarse voxel's centre is the mean of the centres it spans, hence the translation."""
    datasets = []
    for level, factor in enumerate(spec.factors):
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": list(spec.level_spacing(level))}]
        shift = [o + s * (f - 1) / 2 for o, s, f in zip(spec.origin, spec.spacing, factor, strict=True)]
        if any(shift):
            transforms.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    return {"name": name, "axes": axes, "datasets": datasets, "type": method}


def _set(path: str, ome: dict[str, Any] | None, attributes: dict[str, Any] | None) -> None:
    """Make the group where it is missing, and set its ``ome`` and ``mitoscale`` attributes where they are given."""
    import zarr

    if is_file(join(path, ".zgroup")):
        raise InputError(f"{path} is Zarr v2; OME-Zarr {_VERSION} needs v3: choose another path")
    given = {**({"ome": ome} if ome else {}), **({"mitoscale": attributes} if attributes else {})}
    if is_remote(path):
        there = _metadata(join(path, "zarr.json")) or {"zarr_format": 3, "node_type": "group"}
        write_json(join(path, "zarr.json"), {**there, "attributes": {**there.get("attributes", {}), **given}})
        return
    try:
        zarr.open_group(path, mode="a", zarr_format=3).attrs.update(given)
    except OSError as error:
        raise StoppedError(f"cannot write {path}: {error.strerror or error}; free or repair the disk") from error


def _metadata(file: str) -> dict[str, Any]:
    """A metadata file's content; empty where there is none."""
    try:
        text = read(file)
        if text is None:
            return {}
        content = json.loads(text)
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
    return _metadata(join(path, "zarr.json")).get("attributes", {}) or _metadata(join(path, ".zattrs"))


def _multiscales(path: str) -> list[Any]:
    attributes = _attributes(path)
    return attributes.get("ome", attributes).get("multiscales", [])


def consolidate_again(path: str) -> None:
    """Renew the list of a Zarr v3 group, of its labels and of each group around it, where they have one.

    Parameters
    ----------
    path : str
        The group below which an array was made or removed.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    if is_remote(path):
        return  # what we have made there has no such list
    group = Path(path)
    while (group / "zarr.json").is_file():
        for stale in (group / "labels", group):
            if _is_consolidated(stale):
                _consolidate(stale)
        group = group.parent


def _is_consolidated(group: Path) -> bool:
    with suppress(OSError, ValueError, AttributeError):
        return bool(json.loads((group / "zarr.json").read_text(encoding="utf-8")).get("consolidated_metadata"))
    return False


def _consolidate(group: Path) -> None:
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the list is no part of Zarr v3 yet: it was there before us
        try:
            zarr.consolidate_metadata(str(group), zarr_format=3)
        except OSError as error:
            raise StoppedError(f"cannot write {group}: {error.strerror or error}; free or repair the disk") from error
