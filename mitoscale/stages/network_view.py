"""What the networks see of a block: normalised grey values, tissue mirrored into padding, neighbours in place of bad slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import ReplacedSlice, VolumeGrey
from mitoscale.core.grid import Block
from mitoscale.core.plan import RunPlan
from mitoscale.ops.padding_detection import mirrored, near_border, padding_pixels
from mitoscale.stages.cell_mask import outside
from mitoscale.stages.padding import is_padding, read_padding

_CUT = 64
"""Where much of a block is padding it is cut to its tissue, at multiples of so many pixels."""


@dataclass(frozen=True, kw_only=True)
class NetworkView:
    """A block, ready for a network."""

    whole: np.ndarray
    """(Z, Y, X) uint8 of the block's read region."""
    asked: Block | None
    """The part of the block with tissue, which the network is asked for; None where all of the core is padding."""
    image: np.ndarray
    """(Z, Y, X) uint8 of that part's read region."""
    hidden: np.ndarray
    """(Z, Y, X) bool of the block's core: padding, and what is outside of the mask of cells; nothing is found there."""
    replaced: Mapping[ReplacedSlice, np.ndarray] = field(default_factory=dict)
    """Of bad slices in the core (Y, X) bool: where their neighbours stand for them."""

    def complete(self, foreground: np.ndarray, first: int) -> None:
        """Put what was found in neighbours into bad slices, and nothing into padding; in place.

        Parameters
        ----------
        foreground : (Z, Y, X) uint8
            Of the block's core.
        first : int
            Its first slice.
        """
        for slice_, where in self.replaced.items():
            between = _between(foreground, slice_, first)
            plane = foreground[slice_.z - first]
            plane[where] = np.rint(between[where])
        foreground[self.hidden] = 0


def read_block(plan: RunPlan, grey: VolumeGrey, block: Block) -> Block:
    """A block as detection needs it: where it has bad slices, with the good ones that stand for them.

    Those are in its core, too, because what is found there is brought over.

    Parameters
    ----------
    plan : RunPlan
        The run.
    grey : VolumeGrey
        Of its volume.
    block : Block
        The block.
    """
    core = _with_neighbours(grey, block.core)
    if core == block.core:
        return Block(index=block.index, core=core, halo=_with_neighbours(grey, block.halo))
    margin = plan.detect_grid.margin[0]
    start = max(plan.region.start[0], min(block.halo.start[0], core.start[0] - margin))
    stop = min(plan.region.stop[0], max(block.halo.stop[0], core.stop[0] + margin))
    halo = Region(start=(start, *block.halo.start[1:]), stop=(stop, *block.halo.stop[1:]))
    return Block(index=block.index, core=core, halo=_with_neighbours(grey, halo))


def _with_neighbours(grey: VolumeGrey, region: Region) -> Region:
    """A region with all slices that stand for bad ones in it; these are good, so that once is enough."""
    inside = [s for s in grey.replaced if region.start[0] <= s.z < region.stop[0]]
    start = min([region.start[0], *(s.before for s in inside)])
    stop = max([region.stop[0], *(s.after + 1 for s in inside)])
    return Region(start=(start, *region.start[1:]), stop=(stop, *region.stop[1:]))


def is_without_tissue(plan: RunPlan, grey: VolumeGrey, block: Block) -> bool:
    """Whether all of a block's core is padding or outside of the mask of cells, so that its image need not be read.

    Parameters
    ----------
    plan : RunPlan
        The run.
    grey : VolumeGrey
        Of its volume.
    block : Block
        From :func:`read_block`.
    """
    if plan.settings.detect.mask is None:
        return bool(grey.padding_digest) and is_padding(plan, block.core)
    hidden = read_padding(plan, block.core) if grey.padding_digest else np.zeros(block.core.shape, bool)
    return bool((hidden | outside(plan, block.core)).all())


def network_view(plan: RunPlan, grey: VolumeGrey, image: np.ndarray, block: Block) -> NetworkView:
    """Normalise a block's read region, hide its padding and replace its bad slices.

    Parameters
    ----------
    plan : RunPlan
        The run.
    grey : VolumeGrey
        Of its volume.
    image : (Z, Y, X)
        Grey values of the read region, as they are stored.
    block : Block
        From :func:`read_block`.
    """
    first, last = block.halo.start[0], block.halo.stop[0]
    seen = grey.normalisation.apply(image)
    for other in grey.brightness:
        if first <= other.z < last:
            seen[other.z - first] = grey.normalisation.mapped(other.gain, other.offset).apply(image[other.z - first])
    padding = padding_in(plan, grey, image, block.halo)
    inner = block.core.within(block.halo)
    replaced = {}
    for bad in grey.replaced:
        if not (first <= bad.before and bad.after < last):
            continue
        z, neighbours = bad.z - first, padding[[bad.before - first, bad.after - first]]
        where = ~neighbours.any(0) & (bad.whole | padding[z])
        seen[z] = np.where(where, np.rint(_between(seen, bad, first)).astype(np.uint8), seen[z])
        padding[z] = neighbours.any(0) if bad.whole else padding[z] & ~where
        if block.core.start[0] <= bad.before and bad.after < block.core.stop[0]:
            replaced[bad] = where[inner[1:]]
    for z in range(len(image)):
        seen[z] = mirrored(seen[z], padding[z])
    hidden = padding[inner] | outside(plan, block.core)
    asked = _with_tissue(block, ~hidden) if hidden.any() else block
    part = seen[asked.halo.within(block.halo)] if asked else seen[:0]
    return NetworkView(whole=seen, asked=asked, image=part, hidden=hidden, replaced=replaced)


def padding_in(plan: RunPlan, grey: VolumeGrey, image: np.ndarray, region: Region) -> np.ndarray:
    """(Z, Y, X) bool: where a region is padding, to the pixel.

    Parameters
    ----------
    plan : RunPlan
        The run.
    grey : VolumeGrey
        Of its volume.
    image : (Z, Y, X)
        Grey values of the region, as they are stored.
    region : Region
        The region.
    """
    if not grey.padding_digest:
        return np.zeros(image.shape, bool)
    padding = read_padding(plan, region)
    (_, *start), (_, *shape) = region.start, image.shape
    (_, *low), (_, *high) = plan.region.start, plan.region.stop
    border = near_border((start[0], start[1]), (shape[0], shape[1]), ((low[0], high[0]), (low[1], high[1])))
    for z in range(len(image)):
        padding[z] = padding_pixels(image[z], padding[z], grey.padding_values, border)
    return padding


def _between(values: np.ndarray, bad: ReplacedSlice, first: int) -> np.ndarray:
    """(Y, X) float32 between the slices that stand for a bad one.

    Parameters
    ----------
    values : (Z, Y, X)
        Slices, both good ones among them.
    bad : ReplacedSlice
        The bad slice.
    first : int
        Number of the first of ``values``.
    """
    before, after = (values[z - first].astype(np.float32) for z in (bad.before, bad.after))
    return before + np.float32(bad.weight) * (after - before)


def _with_tissue(block: Block, tissue: np.ndarray) -> Block | None:
    """The block cut along y and x to the tissue in its core; its margin stays as wide, or becomes so."""
    if not tissue.any():
        return None
    core, halo = [(block.core.start[0], block.core.stop[0])], [(block.halo.start[0], block.halo.stop[0])]
    for axis in (1, 2):
        filled = np.flatnonzero(tissue.any(axis=tuple(i for i in range(3) if i != axis))) + block.core.start[axis]
        start = max(block.core.start[axis], int(filled[0]) // _CUT * _CUT)
        stop = min(block.core.stop[axis], -(-(int(filled[-1]) + 1) // _CUT) * _CUT)
        core.append((start, stop))
        before, after = (abs(getattr(block.halo, end)[axis] - getattr(block.core, end)[axis]) for end in ("start", "stop"))
        margin = max(before, after, _CUT)
        halo.append((max(block.halo.start[axis], start - margin), min(block.halo.stop[axis], stop + margin)))
    regions = (Region(start=tuple(a for a, _ in box), stop=tuple(b for _, b in box)) for box in (core, halo))
    return Block(index=block.index, core=next(regions), halo=next(regions))
