"""Drawing what was missed: SAM's mask at a click or in a box of one slice, followed through the next ones."""

from __future__ import annotations

import copy

import numpy as np

from mitoscale.core.drawing import Drawing
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.core.settings import SegmentSettings
from mitoscale.nets.factories import make_segmenter
from mitoscale.nets.sam_segmenter import SamSegmenter
from mitoscale.ops.follow_slices import SLICES, Box, SliceMask, follow, stacked, without_crumbs
from mitoscale.ops.prompts import Prompts
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.stages.stage import open_image

LEAST_SCORE = 0.5
"""It ends where SAM's predicted IoU x stability is lower ..."""
LEAST_OVERLAP, THICK_OVERLAP = 0.5, 0.25
"""... or the IoU with the slice before is; where slices are thick an object changes more from one to the next."""
_THICK = 3.0
"""Slices more than so many pixels thick are thick."""
_AROUND = 1.5
"""How many of SAM's windows around a prompt are read."""


class SamPen:
    """Asks the SAM of a run about single slices of its image.

    Parameters
    ----------
    plan : RunPlan
        The run; where it was made without SAM, the default weights are taken.
    """

    def __init__(self, plan: RunPlan) -> None:
        settings = plan.settings.segment if plan.settings.segment.segmenter == "sam" else SegmentSettings()
        segmenter = make_segmenter(settings, plan.spec.spacing)
        assert isinstance(segmenter, SamSegmenter)
        self.name = settings.sam
        self._plan, self._image, self._grey = plan, open_image(plan), read_grey(plan).normalisation
        self._by_box, self._by_point = segmenter, copy.copy(segmenter)
        self._by_point.ask = "point"

    def click(self, z: int, point: tuple[int, int]) -> SliceMask | None:
        """The best of SAM's three masks of what lies at a pixel (y, x) of a slice."""
        y, x = point
        return self._asked(self._by_point, z, (float(y), float(x)), (y, x, y + 1, x + 1))

    def box(self, z: int, point: tuple[float, float], box: Box) -> SliceMask | None:
        """SAM's mask of what lies in a box, around a point in it.

        Parameters
        ----------
        z : int
            The slice.
        point : (y, x)
            A pixel of the object.
        box : (y0, x0, y1, x1)
            Half-open.
        """
        return self._asked(self._by_box, z, point, box)

    def _asked(self, segmenter: SamSegmenter, z: int, point: tuple[float, float], box: Box) -> SliceMask | None:
        around = self._read_region(segmenter, z, box)
        image = self._grey.apply(self._image.read(around))
        (y0, x0), (height, width) = around.start[1:], image.shape[1:]
        inside = np.zeros((height, width), np.int32)
        local = np.array([box[0] - y0, box[1] - x0, box[2] - y0, box[3] - x0]).clip(0, [height, width, height, width])
        inside[local[0] : local[2], local[1] : local[3]] = 1
        prompts = Prompts(
            profiles=inside,
            points=np.array([[point[0] - y0, point[1] - x0]], np.float32),
            boxes=local[None].astype(np.int32),
        )
        (found,) = segmenter.masks(image, np.ones(image.shape, np.float32), [prompts], around)
        if not found:
            return None
        whole = np.zeros((height, width), bool)
        for part in found:  # of an object larger than a window there are several
            whole[part.slices] |= part.mask
        whole = without_crumbs(whole)
        rows, columns = (np.flatnonzero(whole.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return None
        crop = whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        score = min(part.score for part in found)
        return SliceMask(z=z, y0=y0 + int(rows[0]), x0=x0 + int(columns[0]), mask=crop, score=score)

    def _read_region(self, segmenter: SamSegmenter, z: int, box: Box) -> Region:
        region = self._plan.region
        start, stop = [z], [z + 1]
        for axis in (1, 2):
            margin = round(_AROUND * segmenter.size * segmenter.ratios[axis - 1])
            start.append(max(region.start[axis], box[axis - 1] - margin))
            stop.append(min(region.stop[axis], box[axis + 1] + margin))
        return Region(start=(start[0], start[1], start[2]), stop=(stop[0], stop[1], stop[2]))


def drawn(plan: RunPlan, pen: SamPen, point: Triple, box: Box | None = None, slices: int = SLICES) -> Drawing:
    """What SAM draws at a voxel, and on both sides of its slice for as long as it is sure and sees the same object.

    Parameters
    ----------
    plan : RunPlan
        The run.
    pen : SamPen
        Its SAM.
    point : (z, y, x)
        A voxel of the object.
    box : (y0, x0, y1, x1), optional
        A box around the object in that slice, half-open.
    slices : int
        How many slices are followed on each side at most.

    Raises
    ------
    InputError
        If SAM sees nothing there, or is not sure of it.
    """
    z, y, x = point
    first = pen.click(z, (y, x)) if box is None else pen.box(z, (float(y), float(x)), box)
    at = f"{z},{y},{x}" if box is None else f"box {','.join(map(str, box))} of slice {z}"
    cure = "try a box around the object" if box is None else "try a tighter box, or another slice"
    if first is None:
        raise InputError(f"{pen.name} sees nothing at {at}; {cure}, or mitoscale edit add")
    if first.score < LEAST_SCORE:
        raise InputError(f"{pen.name} scores what it sees at {at} {first.score:.2f}, below {LEAST_SCORE:g}; {cure}")
    low, high = plan.region.start[0], plan.region.stop[0]
    spacing = plan.spec.spacing
    least = LEAST_OVERLAP if spacing[0] <= _THICK * spacing[2] else THICK_OVERLAP
    after = range(z + 1, min(high, z + 1 + slices))
    before = range(z - 1, max(low, z - slices) - 1, -1)
    masks = [
        *reversed(follow(pen.box, first, before, least_score=LEAST_SCORE, least_overlap=least)),
        first,
        *follow(pen.box, first, after, least_score=LEAST_SCORE, least_overlap=least),
    ]
    region, mask = stacked(masks)
    place = None if box is None else tuple(float(v * spacing[1 + i % 2]) for i, v in enumerate(box))
    return Drawing.of(
        mask,
        region.start,
        spacing,
        model=pen.name,
        scores=[one.score for one in masks],
        box_nm=place,  # type: ignore[arg-type]
    )
