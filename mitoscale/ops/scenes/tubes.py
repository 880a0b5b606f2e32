"""Tubes: round, long and branching mitochondria in wide cells, some against each other; which ones touch is known exactly."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mitoscale.ops.scenes.bodies import scatter
from mitoscale.ops.scenes.canvas import Canvas
from mitoscale.ops.scenes.mitochondrion_look import MitochondrionLook, draw_mitochondrion
from mitoscale.ops.scenes.placement import Placement, overlap
from mitoscale.ops.scenes.tube_shapes import ellipsoid_depth, tube_depth

_TRIES = 30
"""Shapes that are tried for each mitochondrion that is wanted."""

_OUTSIDE_NM = -1000.0
"""Depth beyond a mitochondrion's outline: nothing around it is taken, so that another one may touch it."""


class Tubes(BaseModel):
    """How cells with tubes for mitochondria look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cytoplasm: float = Field(0.59, ge=0, le=1)
    """Its grey value."""
    grain: float = Field(0.035, ge=0)
    """Deviation of its texture."""
    membrane: float = Field(0.3, ge=0, le=1)
    """How much darker membranes are."""
    cell_nm: tuple[float, ...] = (1600.0, 900.0)
    """Sizes of the cells that membranes enclose; those of different sizes cross."""
    ellipsoids: float = Field(0.35, ge=0, le=1)
    """Part of the mitochondria that are ellipsoids; the others are tubes."""
    branching: float = Field(0.25, ge=0, le=1)
    """Part of the tubes that branch."""
    radius_nm: tuple[float, float] = (90.0, 170.0)
    """Range of the radius of mitochondria."""
    length_nm: tuple[float, float] = (300.0, 900.0)
    """Range of the length of tubes, without their round ends."""
    touching: float = Field(0.25, ge=0, le=1)
    """Part of the mitochondria that is placed against another one."""
    vesicles: float = Field(25.0, ge=0)
    """Vesicles in a cubic micrometre."""
    bodies: float = Field(1.2, ge=0)
    """Lysosomes and multivesicular bodies in a cubic micrometre."""


def draw_tubes(canvas: Canvas, tissue: Tubes, look: MitochondrionLook, wanted: int) -> frozenset[int]:
    """Draw cells with tubes for mitochondria.

    Parameters
    ----------
    canvas : Canvas
        An empty one.
    tissue : Tubes
        How the tissue looks.
    look : MitochondrionLook
        How its mitochondria look.
    wanted : int
        Number of mitochondria; fewer where they do not fit.

    Returns
    -------
    frozenset of int
        Labels of the mitochondria that touch another one (26-neighbourhood).
    """
    _draw_cells(canvas, tissue)
    for kind in ("lysosome", "multivesicular"):
        scatter(canvas, kind, tissue.bodies / 2)
    touching = _place_mitochondria(canvas, tissue, look, wanted)
    scatter(canvas, "vesicle", tissue.vesicles)
    return touching


def _draw_cells(canvas: Canvas, tissue: Tubes) -> None:
    """Draw cytoplasm and the membranes between cells."""
    canvas.image = np.float32(tissue.cytoplasm) + np.float32(tissue.grain) * (canvas.noise(45.0) + canvas.noise(700.0))
    width = np.float32(max(12.0, 0.8 * canvas.spacing[2]))
    axes = [axis for axis, n in enumerate(canvas.shape) if n > 1]
    for size in tissue.cell_nm:
        field = canvas.noise(size)
        slope = np.sqrt(sum(np.square(np.gradient(field, canvas.spacing[axis], axis=axis)) for axis in axes))
        away = field / np.maximum(slope, 1e-5)
        canvas.image -= np.float32(tissue.membrane) * np.exp(-np.square(away / width))


def _place_mitochondria(canvas: Canvas, tissue: Tubes, look: MitochondrionLook, wanted: int) -> frozenset[int]:
    """Draw mitochondria where they find a place; returns those that touch another one."""
    rng = canvas.rng
    placement = Placement(canvas.taken, canvas.spacing, rng)
    touching: set[int] = set()
    meant = 2 * round(wanted * tissue.touching / 2)
    for attempt in range(wanted * _TRIES):
        if len(placement) >= wanted:
            break
        alone = [label for label in range(1, len(placement) + 1) if label not in touching]
        partner = int(rng.choice(alone)) if alone and len(touching) < meant and attempt % 4 else None
        depth = _shape(canvas, tissue)
        mask = depth > 0
        if not mask.any():
            continue
        place = placement.free(mask) if partner is None else placement.against(mask, partner)
        if place is None:
            continue
        inner, box = overlap(mask.shape, place, canvas.shape)
        if draw_mitochondrion(canvas, box, np.where(mask, depth, np.float32(_OUTSIDE_NM))[inner], look):
            placement.put(mask, place)
            touching |= {partner, len(placement)} if partner else set()
    return frozenset(touching)


def _shape(canvas: Canvas, tissue: Tubes) -> np.ndarray:
    """(Z, Y, X) float32 distance to the outline of a mitochondrion in nm, positive inside."""
    rng = canvas.rng
    radius = rng.uniform(*tissue.radius_nm)
    if rng.random() < tissue.ellipsoids:
        return ellipsoid_depth(canvas, radius)
    return tube_depth(canvas, radius, rng.uniform(*tissue.length_nm), branching=rng.random() < tissue.branching)
