"""Whether a volume's membranes seem bright, judged from a few windows of it once it is converted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import numpy as np

from mitoscale.core.errors import BlockError
from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.plan import RunPlan
from mitoscale.ops.dark_lines import line_sums, seem_bright
from mitoscale.ops.padding_detection import mirrored
from mitoscale.stages.network_view import padding_in
from mitoscale.storage.arrays import Array
from mitoscale.storage.sources.reader import Reader

_WINDOW = (1, 384, 384)
"""Voxels of a window."""
_WINDOWS = (3, 3, 3)
"""Windows along each axis, at most."""
_STEP = (1, 128, 128)
"""Windows begin where chunks do, so that few are read."""
_THREADS = 2
"""Windows that are read at once."""


def membranes_seem_bright(plan: RunPlan, grey: VolumeGrey, image: Array | Reader) -> bool:
    """Whether more bright lines than dark ones are seen in windows all over the region, as the networks see them.

    Parameters
    ----------
    plan : RunPlan
        The run.
    grey : VolumeGrey
        Of its volume.
    image : Array or Reader
        Level 0; windows that cannot be read are left out.
    """
    starts = product(*map(_starts, plan.region.start, plan.region.stop, _WINDOW, _WINDOWS, _STEP))
    found = []
    with ThreadPoolExecutor(_THREADS) as threads:  # windows are read while earlier ones are judged
        for region, stored in threads.map(partial(_window, plan, image), starts):
            if stored is None:
                continue
            nothing = padding_in(plan, grey, stored, region)[0]
            seen = mirrored(grey.normalisation.apply(stored)[0], nothing)
            found.append(line_sums(seen, plan.spec.spacing[1:], nothing))
    return seem_bright(found)


def _window(plan: RunPlan, image: Array | Reader, start: tuple[int, ...]) -> tuple[Region, np.ndarray | None]:
    """A window and its grey values; None where they cannot be read."""
    z, y, x = (min(a + n, b) for a, n, b in zip(start, _WINDOW, plan.region.stop, strict=True))
    region = Region(start=(start[0], start[1], start[2]), stop=(z, y, x))
    try:
        return region, image.read(region)
    except BlockError:
        return region, None


def _starts(low: int, high: int, length: int, most: int, step: int) -> list[int]:
    """Where windows begin: about evenly spread, and only as many as fit side by side."""
    free = max(high - low - length, 0)
    count = min(most, -(-(high - low) // length))
    starts = [low + int(free * (2 * i + 1) / (2 * count)) for i in range(count)]
    return [max(low, start // step * step) for start in starts]
