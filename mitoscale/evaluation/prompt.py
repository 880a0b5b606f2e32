"""Ask SAM about one slice: a point, a box, or everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.evaluation.grey_volume import GreyVolume
from mitoscale.nets.automatic import AutomaticMasks
from mitoscale.nets.checkpoint import load_sam, square_pixel
from mitoscale.nets.device import device
from mitoscale.nets.sam_segmenter import SamSegmenter
from mitoscale.ops.masks import Mask, paint, suppress
from mitoscale.ops.prompts import Prompts

_MOST_PIXELS = 2**26
"""Largest slice that is looked at as a whole."""

_AROUND = 1.5
"""How many of SAM's windows around the prompts are read."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What SAM said, with the part of the slice that was looked at."""

    image: np.ndarray
    """(Y, X) uint8, normalised."""
    region: Region
    """Where that is in the volume; one slice."""
    labels: np.ndarray
    """(Y, X) int32: 1.. in the order of ``masks``, 0 is background."""
    masks: list[Mask]
    """One an answer; ``profile`` is its prompt's number (points first, then boxes), or its own for everything."""


def ask_prompts(
    volume: GreyVolume, z: int, points: Sequence[tuple[int, int]], boxes: Sequence[tuple[int, int, int, int]], sam: str
) -> Answers:
    """Ask for the object at each point (best-scored of SAM's three masks) and in each box.

    Parameters
    ----------
    volume : GreyVolume
        The image.
    z : int
        The slice.
    points : sequence of (y, x)
        Pixels of the slice.
    boxes : sequence of (y0, x0, y1, x1)
        Half-open.
    sam : str
        Weights by name or path.

    Raises
    ------
    InputError
        If a prompt leaves the slice or lies in padding, or the weights are wrong.
    """
    _, height, width = _checked(volume, z)
    for y, x in points:
        if not (0 <= y < height and 0 <= x < width):
            raise InputError(f"point {y},{x} is not in the slice, which has 0:{height}, 0:{width} (y, x)")
    for y0, x0, y1, x1 in boxes:
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            raise InputError(f"box {y0},{x0},{y1},{x1} is empty or not in the slice, which has 0:{height}, 0:{width} (y, x)")
    model, card = load_sam(sam)
    model.to(device())
    small = [(y, x, y + 1, x + 1) for y, x in points]
    nm = square_pixel(card, sam)
    margin = [round(_AROUND * model.config.image_size * (nm or s) / s) for s in volume.spacing[1:]]
    region = _around(np.array([*small, *boxes]), margin, z, (height, width))
    image, seen, padding = _read(volume, region)
    offset = np.array(region.start[1:])
    masks: list[Mask] = []
    number = 0
    for kind, asked in (("point", small), ("box", boxes)):
        for box in asked:
            y0, x0, y1, x1 = (np.array(box).reshape(2, 2) - offset).ravel().tolist()
            inside = np.zeros(image.shape, np.int32)
            inside[y0:y1, x0:x1] = 1
            if padding[inside > 0].all():
                where = ",".join(map(str, box if kind == "box" else box[:2]))
                raise InputError(f"{kind} {where} lies in padding, where there is no tissue; give one inside the tissue")
            point = np.array([[(y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2]], np.float32)
            prompts = Prompts(profiles=inside, points=point, boxes=np.array([[y0, x0, y1, x1]], np.int32))
            segmenter = SamSegmenter(model, pixel_nm=nm, spacing=volume.spacing, ask="point" if kind == "point" else "box")
            number += 1
            (found,) = segmenter.masks(seen[None], np.ones((1, *image.shape), np.float32), [prompts], region)
            # Without logits: of two answers that overlap the better one is drawn whole.
            masks += [Mask(y0=m.y0, x0=m.x0, mask=m.mask, score=m.score, profile=number) for m in found]
    masks = _in_tissue(masks, padding)
    return Answers(image=image, region=region, labels=paint(image.shape, masks), masks=masks)


def ask_everything(volume: GreyVolume, z: int, sam: str) -> Answers:
    """Masks of everything in a slice, best first where they overlap; see :mod:`mitoscale.nets.automatic`.

    Parameters
    ----------
    volume : GreyVolume
        The volume.
    z : int
        Slice, from 0.
    sam : str
        Weights, by name or path.

    Raises
    ------
    InputError
        If the slice is too large, or the weights are wrong.
    """
    _, height, width = _checked(volume, z)
    if height * width > _MOST_PIXELS:
        raise InputError(f"a slice of {height} x {width} is too large to look for everything; crop it to {_MOST_PIXELS} pixels")
    model, card = load_sam(sam)
    region = Region(start=(z, 0, 0), stop=(z + 1, height, width))
    image, seen, padding = _read(volume, region)
    found = AutomaticMasks(model.to(device()), pixel_nm=square_pixel(card, sam), spacing=volume.spacing).masks(seen)
    masks = _in_tissue(found, padding)
    kept = [masks[i] for i in suppress(masks, iou=0.7, iom=0.8)]
    return Answers(image=image, region=region, labels=paint(image.shape, kept), masks=kept)


def _checked(volume: GreyVolume, z: int) -> tuple[int, int, int]:
    depth, height, width = volume.source.shape
    if not 0 <= z < depth:
        raise InputError(f"slice {z} is not in the volume, which has 0:{depth}; give another with --slice")
    return depth, height, width


def _read(volume: GreyVolume, region: Region) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Y, X) uint8 of a slice as it is shown, as SAM sees it, and (Y, X) bool where it is padding."""
    seen, padding = volume.read_tissue(region)
    return volume.read(region)[0], seen[0], padding[0]


def _in_tissue(masks: list[Mask], padding: np.ndarray) -> list[Mask]:
    """Masks without what they have of padding; those that are nothing else are left out."""
    if not padding.any():
        return masks
    cut = [replace(m, mask=m.mask & ~padding[m.slices]) for m in masks]
    return [m for m in cut if m.mask.any()]


def _around(boxes: np.ndarray, margin: Sequence[int], z: int, shape: tuple[int, int]) -> Region:
    low, high = boxes[:, :2].min(axis=0) - margin, boxes[:, 2:].max(axis=0) + margin
    start, stop = np.maximum(low, 0), np.minimum(high, shape)
    return Region(start=(z, int(start[0]), int(start[1])), stop=(z + 1, int(stop[0]), int(stop[1])))
