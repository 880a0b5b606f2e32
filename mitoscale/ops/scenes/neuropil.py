"""Neuropil: profiles of neurites, side by side, with myelin, vesicles and dark bodies."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mitoscale.ops.scenes.bodies import scatter
from mitoscale.ops.scenes.canvas import Canvas, body_depth
from mitoscale.ops.scenes.cells import Cells, make_cells
from mitoscale.ops.scenes.mitochondrion_look import MitochondrionLook, draw_mitochondrion


class Neuropil(BaseModel):
    """How neuropil looks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell_nm: tuple[float, float] = (350.0, 800.0)
    """Range of the size of profiles."""
    stretch: tuple[float, float] = (1.0, 2.5)
    """Range of their length over their width."""
    cytoplasm: tuple[float, float] = (0.55, 0.75)
    """Range of the grey value of cytoplasm, from cell to cell."""
    grain: float = Field(0.05, ge=0)
    """Deviation of its texture."""
    dark_cells: float = Field(0.05, ge=0, le=1)
    """Part of the cells that is dark: glia and degenerating ones."""
    membrane: float = Field(0.35, ge=0, le=1)
    """How much darker membranes are."""
    myelin: float = Field(0.05, ge=0, le=1)
    """Part of the cells with a sheath of myelin."""
    radius_nm: tuple[float, float] = (70.0, 220.0)
    """Range of the radius of mitochondria."""
    halo: float = Field(0.0, ge=0)
    """How much lighter the cytoplasm around mitochondria is."""


def draw_neuropil(canvas: Canvas, tissue: Neuropil, look: MitochondrionLook, per_um3: float) -> None:
    """Draw neuropil.

    Parameters
    ----------
    canvas : Canvas
        An empty one.
    tissue : Neuropil
        How the tissue looks.
    look : MitochondrionLook
        How its mitochondria look.
    per_um3 : float
        Mitochondria wanted in a cubic micrometre.
    """
    rng = canvas.rng
    cells = make_cells(canvas, rng.uniform(*tissue.cell_nm), stretch=rng.uniform(*tissue.stretch), warp=rng.uniform(0.12, 0.26))
    grey = rng.uniform(*tissue.cytoplasm, cells.count).astype(np.float32)
    dark = rng.random(cells.count) < tissue.dark_cells
    grey[dark] -= rng.uniform(0.1, 0.25)
    rough = (tissue.grain * rng.uniform(0.4, 1.6, cells.count)).astype(np.float32)
    texture = canvas.noise(rng.uniform(16, 30)) * 0.7 + canvas.noise(rng.uniform(40, 90)) * 0.7
    canvas.image = grey[cells.number] + rough[cells.number] * texture
    width = np.float32(max(rng.uniform(7, 13), 0.8 * canvas.spacing[2]))
    uneven = np.clip(1 + np.float32(0.3) * canvas.noise(200), 0.3, 1.8)
    canvas.image -= np.float32(tissue.membrane) * uneven * np.exp(-np.square(cells.depth / width))
    _sheathe(canvas, cells, tissue.myelin)
    density = canvas.noise(700.0)
    wanted = max(int(rng.poisson(per_um3 * canvas.volume_um3)), 1)
    _mitochondria(canvas, cells, tissue, look, wanted)
    for kind, rate in (("lysosome", 0.5), ("multivesicular", 0.5), ("whorl", 0.12), ("vacuole", 0.8), ("lipid", 0.1)):
        scatter(canvas, kind, rate * rng.gamma(1.0), ~canvas.taken & (cells.depth > 60))  # type: ignore[arg-type]
    inside = (cells.depth > 25) & (density > 0.3)
    scatter(canvas, "vesicle", rng.uniform(20, 250), inside)
    scatter(canvas, "dense core", rng.gamma(1.0, 4.0), cells.depth > 40)


def _sheathe(canvas: Canvas, cells: Cells, part: float) -> None:
    """Draw myelin inside the walls of a part of the cells."""
    rng = canvas.rng
    thick = np.where(rng.random(cells.count) < part, rng.uniform(50, 180, cells.count), 0).astype(np.float32)
    sheath = thick[cells.number]
    if not sheath.any():
        return
    period = rng.uniform(12, 22)
    turns = np.cos(cells.depth * np.float32(2 * np.pi / period))
    clear = np.clip(0.2 * canvas.noise(300) - 0.2, 0, 0.3)  # here and there the turns gape
    dark = np.float32(rng.uniform(0.05, 0.2)) + np.float32(0.08) * turns + clear
    soft = np.clip((sheath - cells.depth) / 6 + 0.5, 0, 1) * (sheath > 0)
    canvas.image += soft * (dark - canvas.image)
    canvas.taken |= soft > 0.3


def _mitochondria(canvas: Canvas, cells: Cells, tissue: Neuropil, look: MitochondrionLook, wanted: int) -> None:
    """Put mitochondria into cells that are wide enough."""
    rng = canvas.rng
    placed = 0
    for _ in range(wanted * 12):
        if placed >= wanted:
            return
        voxel = tuple(int(rng.integers(n)) for n in canvas.shape)  # its middle
        room = float(cells.depth[voxel])
        if room < 0.6 * tissue.radius_nm[0] or canvas.taken[voxel]:
            continue
        radius = min(rng.uniform(*tissue.radius_nm), 1.2 * room)
        length = radius * np.exp(rng.uniform(0, np.log(4)))
        found = body_depth(
            canvas,
            np.array(voxel) * canvas.spacing,
            np.array([length, radius * rng.uniform(0.9, 1.4), radius]),
            bend=rng.uniform(0, 0.5),
            rough=rng.uniform(0.05, 0.15),
        )
        if found is None:
            continue
        box, depth = found
        own = cells.number[box] == cells.number[voxel]
        depth = np.where(own, np.minimum(depth, cells.depth[box] - np.float32(rng.uniform(15, 30))), -50)
        if tissue.halo:
            ring = np.clip(1 + depth / 40, 0, 1) * (depth < 0) * own
            canvas.image[box] += np.float32(tissue.halo) * ring
        placed += draw_mitochondrion(canvas, box, depth, look)
