"""A mesh of each object in several resolutions, made from the box in which the table says that it lies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from mitoscale.core.geometry import Region, Spacing
from mitoscale.export.exported import Content
from mitoscale.export.level import Level
from mitoscale.export.object_columns import rows_of
from mitoscale.ops.mesh import surface_mesh
from mitoscale.ops.mesh_lods import simplified
from mitoscale.storage.layout import write_json
from mitoscale.storage.multilod_mesh import encoded, mesh_info
from mitoscale.storage.uint64_shards import PRESHIFT_BITS, shard_bits, write_shards

LARGEST = 2**27
"""Most voxels of a box that are looked at; an object in a larger one gets its mesh from a coarser level."""


def write_meshes(content: Content, folder: str, there: np.ndarray) -> None:
    """Write meshes in nm, in which voxel 0 reaches from 0 to its size, as Neuroglancer has it.

    Parameters
    ----------
    content : Content
        What is written.
    folder : str
        Where; it is there.
    there : (N,) uint64, ascending
        The objects that get one.
    """
    bits = shard_bits(int(there.max(initial=0)))
    for _ in write_shards(folder, _encoded(content, there), bits):
        pass
    write_json(os.path.join(folder, "info"), mesh_info(bits, PRESHIFT_BITS))


def _encoded(content: Content, there: np.ndarray) -> Iterator[tuple[int, bytes, bytes]]:
    levels = content.labels
    for label, box in boxes(content.objects, there):
        inside = box.intersection(content.region)
        mesh = object_mesh(levels, label, inside) if inside else None
        if mesh is not None:
            yield label, *encoded(simplified(mesh))


def boxes(table: str, there: np.ndarray) -> Iterator[tuple[int, Region]]:
    """Labels, ascending, and where they lie, in level-0 voxels.

    Parameters
    ----------
    table : str
        Table of objects, sorted by label.
    there : (N,) uint64, ascending
        The objects that are wanted.
    """
    for rows in rows_of(table, there):
        corners = [np.stack([rows[f"bbox_{axis}{end}"] for axis in "zyx"], axis=1).tolist() for end in "01"]
        for label, start, stop in zip(rows["label"].tolist(), *corners, strict=True):
            yield label, Region(start=tuple(start), stop=tuple(stop))


def object_mesh(levels: tuple[Level, ...], label: int, box: Region) -> tuple[np.ndarray, np.ndarray] | None:
    """The surface of an object's voxels in the region; None where the level has none.

    Parameters
    ----------
    levels : sequence of Level
        Labels, finest first.
    label : int
        The object.
    box : Region
        Where it lies, in level-0 voxels.
    """
    fits = [level for level in levels if box.downsampled(level.factor).size <= LARGEST]
    level = (fits or levels[-1:])[0]
    part = box.downsampled(level.factor).intersection(level.part)
    if part is None:
        return None
    step = 1 if fits else -(-max(part.shape) // 512)
    mask = _mask(level, part, label, step)
    if not mask.any():
        return None
    size = [s * step for s in level.spacing]
    corner = [a * s + t / 2 for a, s, t in zip(part.start, level.spacing, size, strict=True)]
    return surface_mesh(mask, _triple(size), _triple(corner))


def _mask(level: Level, part: Region, label: int, step: int) -> np.ndarray:
    """(Z, Y, X) bool of every so many voxels of an object; more than every one is read a slice at a time."""
    here = part.shifted(_minus(level.part.start))
    if step == 1:
        return level.read(here) == label
    (z0, y0, x0), (z1, y1, x1) = here.start, here.stop
    slices = (level.read(Region(start=(z, y0, x0), stop=(z + 1, y1, x1)))[0, ::step, ::step] for z in range(z0, z1, step))
    return np.stack([plane == label for plane in slices])


def _minus(place: tuple[int, int, int]) -> tuple[int, int, int]:
    z, y, x = place
    return -z, -y, -x


def _triple(values: list[float]) -> Spacing:
    z, y, x = values
    return z, y, x
