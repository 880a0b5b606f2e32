"""Where a volume is padding: what convert tasks saw as flat, brought together slice by slice, and read back by later stages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mitoscale.core.errors import BlockError, DamagedError, InputError
from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.ops.padding_detection import CELL, Runs, flat_plane, padding_cells
from mitoscale.ops.slice_sums import AHEAD
from mitoscale.stages.work_tables import tables_of
from mitoscale.storage.arrays import Array, open_array
from mitoscale.storage.creation import create_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import Columns

_CHUNK = (8, 512, 512)
"""Cells that are read at once."""

_CHUNKS = 8
"""Most chunks along z that lie in one file."""

_HELD = 2**26
"""Cells that are held while they are gathered, beyond which a file has fewer chunks."""


@dataclass(frozen=True, kw_only=True)
class Padding:
    """What was found in the whole volume."""

    bins: np.ndarray
    """(B,) int64 bins of the grey values that padding has."""
    pixels: np.ndarray
    """(Z,) int64 pixels of padding in each slice of the region."""
    digest: str
    """Of all cells that are padding; empty where none is."""


def with_whole_cells(plan: RunPlan, core: Region) -> Region:
    """What a convert task reads: its core, the rest of the cells that begin there, and the slices its last ones are compared with.

    Parameters
    ----------
    plan : RunPlan
        The run.
    core : Region
        Of the task, over all columns of the region.
    """
    _, stop = _rows(plan, core)
    y = min(plan.region.start[1] + stop * CELL, plan.region.stop[1])
    z = min(core.stop[0] + AHEAD, plan.region.stop[0])
    return Region(start=core.start, stop=(z, max(core.stop[1], y), core.stop[2]))


def flat_cells(plan: RunPlan, core: Region, runs: Runs) -> Columns:
    """What is kept of which cells of a task are flat.

    Parameters
    ----------
    plan : RunPlan
        The run.
    core : Region
        Of the task.
    runs : Runs
        Of :func:`of_cells`; those of slices behind the core are left out.
    """
    runs = {name: column[runs["z"] < core.shape[0]] for name, column in runs.items()}
    return {**runs, "z": runs["z"] + core.start[0], "y": runs["y"] + _rows(plan, core)[0]}


def of_cells(plan: RunPlan, core: Region, image: np.ndarray) -> np.ndarray:
    """The cells that begin in a task's core, cut out of what it has read.

    Parameters
    ----------
    plan : RunPlan
        The run.
    core : Region
        Of the task.
    image : (Z, Y, X)
        Grey values of :func:`with_whole_cells`.
    """
    first, stop = _rows(plan, core)
    above = plan.region.start[1] + first * CELL - core.start[1]
    return image[:, above : above + (stop - first) * CELL]


def gather_padding(plan: RunPlan, tasks: Iterable[str]) -> Padding:
    """Decide slice by slice what is padding, and keep it for later stages; holds a layer of tasks' flat cells at a time.

    Parameters
    ----------
    plan : RunPlan
        The run.
    tasks : iterable of str
        Names of the convert tasks that are done.

    Raises
    ------
    DamagedError
        If the part of a task is gone.
    """
    path, start = RunFolder(plan.run).padding, plan.region.start[0]
    remove_tree(path)
    shape = _cells(plan)
    area = np.multiply.outer(*(_edges(n, m) for n, m in zip(plan.region.shape[1:], shape[1:], strict=True)))
    pixels, bins = np.zeros(shape[0], np.int64), np.zeros(0, np.int64)
    digest = hashlib.blake2b(digest_size=8)
    array: Array | None = None
    for z0, planes in _planes(plan, tasks):
        for i, (cells, runs) in enumerate(planes):
            if cells.any():
                pixels[z0 + i - start] = int(area[cells].sum())
                bins = np.union1d(bins, runs["bin"][cells[runs["y"], runs["x0"]]])
                digest.update(f"{z0 + i} ".encode() + np.packbits(cells).tobytes())
        if not any(cells.any() for cells, _ in planes):
            continue
        if array is None:
            create_cells(plan)
            array = open_array(path)
        where = Region(start=(z0 - start, 0, 0), stop=(z0 - start + len(planes), *shape[1:]))
        array.write(where, np.stack([cells for cells, _ in planes]).astype(np.uint8))
    return Padding(bins=bins, pixels=pixels, digest=digest.hexdigest() if pixels.any() else "")


def create_cells(plan: RunPlan) -> None:
    """Make the array of cells, empty."""
    shape = _cells(plan)
    z, y, x = (min(n, m) for n, m in zip(_CHUNK, shape, strict=True))
    create_array(RunFolder(plan.run).padding, shape=shape, dtype="uint8", chunks=(z, y, x), shards=(_depth(plan), y, x))


def read_padding(plan: RunPlan, region: Region) -> np.ndarray:
    """For each voxel whether its cell is padding, where :func:`gather_padding` found some.

    Parameters
    ----------
    plan : RunPlan
        The run.
    region : Region
        Within the run's region.

    Returns
    -------
    (Z, Y, X) bool

    Raises
    ------
    DamagedError
        If it is gone.
    """
    cells, places = _read_cells(plan, region)
    return cells[:, places[0]][:, :, places[1]]


def is_padding(plan: RunPlan, region: Region) -> bool:
    """Whether all cells of a region are padding; as :func:`read_padding`, in less time."""
    return bool(_read_cells(plan, region)[0].all())


def any_padding(plan: RunPlan, region: Region) -> bool:
    """Whether one of the cells of a region is padding."""
    return bool(_read_cells(plan, region)[0].any())


def _read_cells(plan: RunPlan, region: Region) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """(Z, Y, X) bool cells that meet a region, and of each of its pixels along y and along x the place among them."""
    corner = plan.region.start
    z0, z1 = (z - corner[0] for z in (region.start[0], region.stop[0]))
    (y0, y1), (x0, x1) = ((region.start[i] - corner[i], region.stop[i] - corner[i]) for i in (1, 2))
    cells = Region(start=(z0, y0 // CELL, x0 // CELL), stop=(z1, -(-y1 // CELL), -(-x1 // CELL)))
    try:
        found = open_array(RunFolder(plan.run).padding, missing="fill").read(cells).astype(bool)
    except (BlockError, InputError) as error:
        raise DamagedError("convert", "", str(error)) from error
    return found, ((np.arange(y0, y1) // CELL) - cells.start[1], (np.arange(x0, x1) // CELL) - cells.start[2])


def _planes(plan: RunPlan, tasks: Iterable[str]) -> Iterator[tuple[int, list[tuple[np.ndarray, Runs]]]]:
    """First slice, and the padding cells with the flat runs of each slice, of as many slices at a time as lie in one file."""
    depth = _depth(plan)
    blocks = sorted((plan.convert_grid.named(name) for name in tasks), key=lambda block: block.index)
    shape, written = _cells(plan)[1:], tables_of(plan, "convert")
    for _, layer in groupby(blocks, key=lambda block: block.index[0]):
        row = list(layer)
        parts = [written.read(block.name, ("flat",), finished=True).tables["flat"] for block in row]
        runs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.argsort(runs["z"], kind="stable")
        runs = {name: column[order] for name, column in runs.items()}
        z0, z1 = row[0].core.start[0], row[0].core.stop[0]
        first = z0
        while first < z1:
            last = min(z1, first + depth - (first - plan.region.start[0]) % depth)  # whole files
            planes = []
            for z in range(first, last):
                low, high = np.searchsorted(runs["z"], (z, z + 1))
                here = {name: column[low:high] for name, column in runs.items()}
                planes.append((padding_cells(flat_plane(here, (shape[0], shape[1]))), here))
            yield first, planes
            first = last


def _cells(plan: RunPlan) -> tuple[int, int, int]:
    """Slices of the region, and cells (y, x) in one."""
    z, y, x = plan.region.shape
    return z, -(-y // CELL), -(-x // CELL)


def _depth(plan: RunPlan) -> int:
    """Slices in a file."""
    z, y, x = _cells(plan)
    chunk = min(_CHUNK[0], z)
    return chunk * min(max(_HELD // (chunk * y * x), 1), _CHUNKS)


def _edges(length: int, cells: int) -> np.ndarray:
    """(cells,) pixels along one edge of each cell: the last one may be cut by the border."""
    return np.diff(np.minimum(np.arange(cells + 1) * CELL, length))


def _rows(plan: RunPlan, core: Region) -> tuple[int, int]:
    """Cells (first, stop) along y that begin in a core."""
    first, stop = (-(-(y - plan.region.start[1]) // CELL) for y in (core.start[1], core.stop[1]))
    return first, stop
