"""What the networks see of a block: normalised grey values, and tissue mirrored into the padding beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey import VolumeGrey
from mitoscale.core.grid import Block
from mitoscale.core.plan import RunPlan
from mitoscale.ops.padding import mirrored, near_border, padding_pixels
from mitoscale.stages.padding import read_padding

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
    """(Z, Y, X) bool of the block's core: padding, where nothing is found."""


def network_view(plan: RunPlan, grey: VolumeGrey, image: np.ndarray, block: Block) -> NetworkView:
    """Normalise a block's read region and hide its padding.

    Parameters
    ----------
    plan : RunPlan
        The run.
    grey : VolumeGrey
        Of its volume.
    image : (Z, Y, X)
        Grey values of the read region, as they are stored.
    block : Block
        The block.
    """
    seen = grey.normalisation.apply(image)
    padding = read_padding(plan, block.halo) if grey.padding_digest else np.zeros(image.shape, bool)
    inner = block.core.within(block.halo)
    if not grey.padding_digest:
        return NetworkView(whole=seen, asked=block, image=seen, hidden=padding[inner])
    (_, *start), (_, *shape) = block.halo.start, image.shape
    (_, *low), (_, *high) = plan.region.start, plan.region.stop
    border = near_border((start[0], start[1]), (shape[0], shape[1]), ((low[0], high[0]), (low[1], high[1])))
    for z in range(len(image)):
        padding[z] = padding_pixels(image[z], padding[z], grey.padding_values, border)
        seen[z] = mirrored(seen[z], padding[z])
    asked = _with_tissue(block, ~padding[inner])
    part = seen[asked.halo.within(block.halo)] if asked else seen[:0]
    return NetworkView(whole=seen, asked=asked, image=part, hidden=padding[inner])


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
