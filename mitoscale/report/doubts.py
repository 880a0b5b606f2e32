"""The report's part about uncertainty: the map, and the objects in doubt most with a picture each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.plan import RunPlan
from mitoscale.core.quantities import volume_text
from mitoscale.report.colours import hex_colour
from mitoscale.report.content import Doubts, Table
from mitoscale.report.difference_pictures import slice_around
from mitoscale.report.pictures import encode, view
from mitoscale.report.uncertainty import boxes_of, doubt_map, most_doubted
from mitoscale.report.uncertainty_map import draw_doubt_map
from mitoscale.stages.earlier_outputs import damaged_table
from mitoscale.storage.addresses import join
from mitoscale.storage.arrays import Array, open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.sources.reader import Reader
from mitoscale.storage.stored_files import is_file
from mitoscale.storage.tables import Columns

_LISTED = 12
_PIXELS = 256
"""A picture is enlarged by whole steps up to so many pixels."""


def doubts_of(plan: RunPlan, image: Array | Reader, normalisation: Normalisation) -> Doubts:
    """What the report tells of uncertainty; memory follows neither the objects nor the voxels.

    Parameters
    ----------
    plan : RunPlan
        The run, which has been measured.
    image : Array or Reader
        Its image.
    normalisation : Normalisation
        What makes uint8 of that.
    """
    folder = RunFolder(plan.run)
    with damaged_table("detect"):
        found = doubt_map(folder.detections, plan.region)
    with damaged_table("measure"):
        listed = most_doubted(folder.objects, _LISTED)
    sampled = f"The map is from {found.profiles:,} of {found.of:,} profiles, evenly taken." if found.profiles < found.of else ""
    return Doubts(
        chart=draw_doubt_map(found, listed, plan.spec.spacing),
        table=_table(listed),
        pictures=list(_pictures(plan, image, normalisation, listed)),
        note=sampled,
    )


def _table(listed: Columns) -> Table:
    rows = [
        (
            str(i + 1),
            str(listed["label"][i]),
            *(f"{listed[name][i]:.2f}" for name in ("doubt", "mean_foreground", "detector_agreement")),
            "" if np.isnan(listed["segmenter_score"][i]) else f"{listed['segmenter_score'][i]:.2f}",
            volume_text(float(listed["volume_nm3"][i])),
            ", ".join(f"{listed[f'centroid_{a}_nm'][i]:.0f}" for a in "zyx"),
        )
        for i in range(len(listed.get("label", ())))
    ]
    head = ("", "label", "doubt", "foreground", "detector agrees", "segmenter's score", "volume", "centroid z, y, x (nm)")
    return Table(head=head, rows=rows, swatches=[hex_colour(int(label)) for label in listed.get("label", ())])


def _pictures(plan: RunPlan, image: Array | Reader, normalisation: Normalisation, listed: Columns) -> Iterator[tuple[str, bytes]]:
    """Each object in the slice of its centroid; beside its outline the foreground probability, where that is still there."""
    labels = open_array(f"{plan.labels}/0", missing="fill")
    size = (plan.spec.spacing[1], plan.spec.spacing[2])
    for i, box in enumerate(boxes_of(listed) if listed else ()):
        z, y, x = (int(np.clip(round(listed[f"centroid_{a}"][i]), box.start[k], box.stop[k] - 1)) for k, a in enumerate("zyx"))
        shown = slice_around((z, y, x), _square(box), within=plan.region)
        grey, own = normalisation.apply(image.read(shown)[0]), labels.read(shown)[0]
        own = np.where(own == listed["label"][i], own, 0)
        picture = view(grey, own, size, within=_PIXELS)
        probability = _foreground(plan, shown)
        if probability is not None:
            picture = np.concatenate([picture, view(probability, None, size, within=_PIXELS)], axis=1)
        yield f"{i + 1}: object {listed['label'][i]}, slice {z}", encode(picture)


def _square(box: Region) -> Region:
    """A box of which y and x are equally long, so that all pictures have one shape; it may leave the volume."""
    edge = max(box.shape[1:])
    start = [(a + b - edge) // 2 for a, b in zip(box.start[1:], box.stop[1:], strict=True)]
    return Region(start=(box.start[0], start[0], start[1]), stop=(box.stop[0], start[0] + edge, start[1] + edge))


def _foreground(plan: RunPlan, region: Region) -> np.ndarray | None:
    path = RunFolder(plan.run).foreground
    return open_array(path, missing="fill").read(region)[0] if is_file(join(path, "zarr.json")) else None  # clean removes it
