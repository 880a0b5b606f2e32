"""The mask of cells that a run is confined to: opened and laid over the volume, and read back block by block."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mitoscale.core.cell_mask import CellMask
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.sources.reader import PartialSpacing, Reader

_SAME = 0.01
"""Up to this relative difference of voxel sizes a step is a whole number."""


def open_mask(path: str, shape: Triple, spacing: Spacing, origin: Spacing) -> CellMask:
    """Open a mask and see how it lies over a volume.

    Where the mask tells its voxel size that counts; else its shape does, which must be that of the volume divided by a step.

    Parameters
    ----------
    path : str
        A volume of any kind, of whole numbers: 0 and less is outside, each other number a cell.
    shape : (z, y, x)
        Of the volume.
    spacing : (z, y, x)
        Its voxel size in nm.
    origin : (z, y, x)
        Position of its first voxel in nm.

    Raises
    ------
    InputError
        If it cannot be read, holds fractions, is finer than the volume, or does not cover it.
    """
    if not path:
        raise InputError("--mask names nothing; give a volume of cells, or leave it out")
    reader = open_reader(path, labels=True)
    if np.dtype(reader.dtype).kind not in "iu":
        raise InputError(f"--mask {reader.path} holds {reader.dtype}; save the cells as whole numbers, 0 outside")
    step = _step(reader, shape, spacing)
    if any(reader.origin) and any(abs(a - b) > s * f for a, b, s, f in zip(reader.origin, origin, spacing, step, strict=True)):
        raise InputError(
            f"--mask {reader.path} begins at {_text(reader.origin)} nm (z,y,x) and the volume at {_text(origin)}: it lies elsewhere"
        )
    return CellMask(path=reader.path, fingerprint=reader.fingerprint, shape=reader.shape, step=step)


def read_cells(mask: CellMask, region: Region) -> np.ndarray:
    """(Z, Y, X) uint64: the cell of each voxel of a region of the volume, 0 outside.

    Parameters
    ----------
    mask : CellMask
        The mask.
    region : Region
        In voxels of the volume.
    """
    places = mask.places(region)
    start, stop = (tuple(int(p[end]) for p in places) for end in (0, -1))
    read = Region(start=start, stop=tuple(b + 1 for b in stop))
    cells = _opened(mask.path).read(read)
    cells = np.where(cells > 0, cells, 0).astype(np.uint64)
    return cells[np.ix_(*(p - a for p, a in zip(places, start, strict=True)))]


def outside(plan: RunPlan, region: Region) -> np.ndarray:
    """(Z, Y, X) bool: the voxels of a region that are in no cell; nothing where a run has no mask.

    Parameters
    ----------
    plan : RunPlan
        The run.
    region : Region
        In voxels of the volume.
    """
    mask = plan.settings.detect.mask
    return np.zeros(region.shape, bool) if mask is None else read_cells(mask, region) == 0


def _step(reader: Reader, shape: Triple, spacing: Spacing) -> Spacing:
    told: PartialSpacing = reader.spacing
    found = []
    for axis, n, m, size, own in zip("zyx", shape, reader.shape, spacing, told, strict=True):
        step = own / size if own is not None else _whole(n, m)
        if abs(step - round(step)) <= _SAME * step:
            step = float(round(step))
        if step < 1 or m > n:
            raise InputError(f"--mask {reader.path} is finer along {axis} than the volume: {m} voxels over {n}; give a coarser one")
        if m * step <= n - step:
            raise InputError(
                f"--mask {reader.path} does not cover the volume: along {axis} {m} voxels of {step:g} each reach over {m * step:g} "
                f"of {n} voxels"
            )
        found.append(step)
    (ny, my), (nx, mx) = ((shape[i], reader.shape[i]) for i in (1, 2))
    if told[1] is None and told[2] is None and not _alike((ny, my), (nx, mx)):
        raise InputError(
            f"--mask {reader.path} does not cover the volume: its {my} x {mx} pixels are not the volume's {ny} x {nx} at "
            "any one step; give one that covers all of the volume, or that tells its voxel size"
        )
    return found[0], found[1], found[2]


def _whole(n: int, m: int) -> float:
    """Volume voxels in a mask voxel: a whole number where one fits, rounded up or down at the end."""
    for step in sorted({max(n // m, 1), -(-n // m)}, key=lambda s: abs(n / m - s)):
        if m in (n // step, -(-n // step)):
            return float(step)
    return n / m


def _alike(y: tuple[int, int], x: tuple[int, int]) -> bool:
    """Whether some step brings both lengths to those of the mask."""
    low = max(n / (m + 1) for n, m in (y, x))
    high = min(n / (m - 1) if m > 1 else float("inf") for n, m in (y, x))
    return low < high


@lru_cache(maxsize=2)
def _opened(path: str) -> Reader:
    return open_reader(path, labels=True)


def _text(values: Spacing) -> str:
    return ",".join(f"{v:g}" for v in values)
