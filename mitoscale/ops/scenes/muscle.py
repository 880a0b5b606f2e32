"""Muscle: fibrils with sarcomeres, and between them mitochondria packed side by side, lipid droplets and glycogen."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mitoscale.ops.scenes.bodies import scatter
from mitoscale.ops.scenes.canvas import Canvas
from mitoscale.ops.scenes.cells import make_cells
from mitoscale.ops.scenes.mitochondrion_look import MitochondrionLook, draw_mitochondrion


class Muscle(BaseModel):
    """How muscle looks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mitochondrion_nm: tuple[float, float] = (500.0, 1000.0)
    """Range of the distance of neighbouring mitochondria."""
    part: tuple[float, float] = (0.35, 0.75)
    """Range of the part of the picture between the fibrils."""
    sarcomere_nm: tuple[float, float] = (1400.0, 2300.0)
    """Range of the distance from one z-line to the next."""
    fibril: tuple[float, float] = (0.45, 0.62)
    """Range of the grey value of fibrils."""
    absent: float = Field(0.15, ge=0, le=1)
    """Part of the places between the fibrils where there is no mitochondrion but cytoplasm."""


def draw_muscle(canvas: Canvas, tissue: Muscle, look: MitochondrionLook) -> None:
    """Draw muscle; its mitochondria fill what the fibrils leave.

    Parameters
    ----------
    canvas : Canvas
        An empty one.
    tissue : Muscle
        How the tissue looks.
    look : MitochondrionLook
        How its mitochondria look.
    """
    rng = canvas.rng
    z, y, x = canvas.grid(canvas.whole)
    angle, tilt = rng.uniform(0, np.pi), rng.normal(0, 0.15)
    along = np.float32(np.cos(angle)) * y + np.float32(np.sin(angle)) * x + np.float32(tilt) * z
    across = np.float32(-np.sin(angle)) * y + np.float32(np.cos(angle)) * x
    bent = across + 60 * canvas.noise(1500)
    canvas.image = _fibrils(canvas, tissue, along + 40 * canvas.noise(900), bent)
    size = rng.uniform(*tissue.mitochondrion_nm)
    width = rng.uniform(1800, 3200)
    lane = np.cos(bent * np.float32(2 * np.pi / width) + np.float32(rng.uniform(0, 6))) + np.float32(0.55) * canvas.noise(
        1.3 * size
    )
    between = lane - np.quantile(lane, 1 - rng.uniform(*tissue.part))
    wall = np.asarray(between * np.float32(width / 7))  # about nm from the fibrils
    cytoplasm = np.float32(rng.uniform(0.5, 0.8)) + np.float32(0.06) * canvas.noise(40) + np.float32(0.05) * canvas.noise(18)
    soft = np.clip(wall / 15 + 0.5, 0, 1)
    canvas.image += soft * (cytoplasm - canvas.image)
    cells = make_cells(canvas, size, stretch=rng.uniform(1, 1.8), warp=rng.uniform(0.03, 0.12))
    gap = np.float32(rng.uniform(2, 14))
    depth = np.minimum(cells.depth - gap, wall - 10)
    depth += np.float32(rng.uniform(0, 6)) * canvas.noise(150)
    scatter(canvas, "lipid", rng.gamma(1.0, 0.4), wall > 0)
    scatter(canvas, "vacuole", rng.gamma(1.0, 0.3), wall > 0)
    for number in np.unique(cells.number[depth > 60]):
        mine = cells.number == number
        box = _box(mine)
        own = np.where(mine[box], depth[box], np.float32(-60))
        if rng.random() < tissue.absent:
            continue
        draw_mitochondrion(canvas, box, own, look)
    free = (wall > -30) & ~canvas.taken
    scatter(canvas, "lysosome", rng.gamma(1.0, 0.5), free)
    scatter(canvas, "multivesicular", rng.gamma(1.0, 0.3), free)
    scatter(canvas, "granule", rng.uniform(20, 700), free & (canvas.noise(400) > 0))
    scatter(canvas, "vesicle", rng.uniform(0, 60), free)


def _fibrils(canvas: Canvas, tissue: Muscle, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(Z, Y, X) filaments, bands and z-lines."""
    rng = canvas.rng
    sarcomere = rng.uniform(*tissue.sarcomere_nm)
    phase = along / np.float32(sarcomere)
    phase = np.abs(phase - np.rint(phase))  # 0 at the z-line, 0.5 at the m-line
    line = rng.uniform(0.02, 0.04)
    thick = np.clip((phase - rng.uniform(0.15, 0.25)) * 30, 0, 1)
    grey = np.float32(rng.uniform(*tissue.fibril)) - np.float32(rng.uniform(0.0, 0.12)) * thick
    grey = grey - np.float32(rng.uniform(0.1, 0.25)) * np.exp(-np.square(phase / np.float32(line)))
    grey = grey + np.float32(rng.uniform(0, 0.06)) * np.exp(-np.square((phase - 0.5) / np.float32(0.03)))
    cut = rng.random()
    if cut < 0.8:  # cut along: lines
        period = rng.uniform(18, 42)
        wave = np.cos((across + 10 * canvas.noise(120)) * np.float32(2 * np.pi / period))
        broken = np.clip(canvas.noise(180) * 0.6 + 0.7, 0, 2)
        texture = np.float32(rng.uniform(0.06, 0.15)) * wave * broken
    else:  # cut across: dots
        texture = np.float32(rng.uniform(0.06, 0.12)) * canvas.noise(rng.uniform(20, 35))
    return np.asarray(grey + texture + np.float32(0.03) * canvas.noise(20))


def _box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The box around what is true."""
    found = [np.flatnonzero(mask.any(tuple(b for b in range(3) if b != axis))) for axis in range(3)]
    z, y, x = (slice(int(f[0]), int(f[-1]) + 1) for f in found)
    return z, y, x
