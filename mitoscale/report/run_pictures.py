"""The report's pictures of a run: some slices with objects and detections, and cuts along the other axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.plan import RunPlan
from mitoscale.report.pictures import encode, save_png, view
from mitoscale.stages.earlier_outputs import damaged_table
from mitoscale.storage.addresses import join
from mitoscale.storage.arrays import Array, open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.sources.reader import Reader
from mitoscale.storage.tables import batches_of

_WIDEST = 1024
"""Pictures show at most this many voxels along an edge, from the middle of the region."""


def run_pictures(plan: RunPlan, image: Array | Reader, normalisation: Normalisation) -> list[tuple[str, bytes]]:
    """Write the pictures into the run's folder; returns caption and encoded picture of each.

    Parameters
    ----------
    plan : RunPlan
        The run, whose labels are finished.
    image : Array or Reader
        Its image.
    normalisation : Normalisation
        What makes uint8 of that.

    Raises
    ------
    StoppedError
        If they cannot be written.
    """
    region, spacing = _shown(plan.region), plan.spec.spacing
    label_array = open_array(f"{plan.labels}/0", missing="fill")
    count = plan.settings.report.pictures
    zs = [region.start[0] + (2 * i + 1) * region.shape[0] // (2 * count) for i in range(count)]
    planes = [Region(start=(z, *region.start[1:]), stop=(z + 1, *region.stop[1:])) for z in zs]
    pictures: dict[str, np.ndarray] = {}
    for plane, points in zip(planes, _points(plan, planes), strict=True):
        grey, labels = normalisation.apply(image.read(plane)[0]), label_array.read(plane)[0]
        name = f"slice {plane.start[0]}"
        pictures[name] = view(grey, None, (spacing[1], spacing[2]))
        pictures[f"{name} with objects and detections"] = view(grey, labels, (spacing[1], spacing[2]), points)
    for name, axis in (("xz", 1), ("yz", 2)):
        plane = _cut(region, axis)
        grey, labels = (np.squeeze(array.read(plane), axis) for array in (image, label_array))
        pictures[f"{name} cut through the middle"] = view(normalisation.apply(grey), labels, (spacing[0], spacing[3 - axis]))
    written = []
    for i, (caption, picture) in enumerate(pictures.items()):
        save_png(join(RunFolder(plan.run).pictures, f"{i:02d}.png"), picture)
        written.append((caption, encode(picture)))
    return written


def _shown(region: Region) -> Region:
    """The middle of the region, small enough for a picture and for memory."""
    start, stop = [], []
    for a, b, most in zip(region.start, region.stop, (256, _WIDEST, _WIDEST), strict=True):
        length = min(b - a, most)
        start.append(a + (b - a - length) // 2)
        stop.append(start[-1] + length)
    return Region(start=tuple(start), stop=tuple(stop))


def _cut(region: Region, axis: int) -> Region:
    """One voxel thick, through the middle; nothing else of the region is held."""
    middle = region.start[axis] + region.shape[axis] // 2
    start, stop = list(region.start), list(region.stop)
    start[axis], stop[axis] = middle, middle + 1
    return Region(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))


def _points(plan: RunPlan, planes: Sequence[Region]) -> list[np.ndarray]:
    """For each slice (N, 2) its detections, in its pixels; the table is read once, some rows at a time."""
    found: list[list[np.ndarray]] = [[np.zeros((0, 2))] for _ in planes]
    with damaged_table("detect"):
        for piece in batches_of(RunFolder(plan.run).detections, ("z", "y", "x")):
            for plane, points in zip(planes, found, strict=True):
                here = (piece["z"] == plane.start[0]) & (piece["y"] >= plane.start[1]) & (piece["x"] >= plane.start[2])
                here &= (piece["y"] < plane.stop[1]) & (piece["x"] < plane.stop[2])
                points.append(np.stack([piece["y"][here] - plane.start[1], piece["x"][here] - plane.start[2]], axis=1))
    return [np.concatenate(points) for points in found]
