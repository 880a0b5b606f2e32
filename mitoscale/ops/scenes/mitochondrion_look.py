"""How mitochondria look: matrix dark, grey or light; cristae lamellar, tubular or none; two membranes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mitoscale.ops.scenes.canvas import Box, Canvas

Cristae = Literal["lamellar", "parallel", "tubular", "none"]
"""Shapes of cristae: sheets that are bent and often broken, even sheets from side to side, tubes."""


class MitochondrionLook(BaseModel):
    """What the mitochondria of one tissue have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    matrix: tuple[float, float] = (0.3, 0.45)
    """Range of the matrix's grey value."""
    patches: float = Field(0.03, ge=0)
    """Deviation of the matrix in patches of about 100 nm."""
    cristae: tuple[Cristae, ...] = ("lamellar",)
    """Kinds, one of which each mitochondrion has."""
    contrast: tuple[float, float] = (-0.25, -0.1)
    """Range of the cristae's grey value, relative to the matrix; below 0 they are darker."""
    period_nm: tuple[float, float] = (40.0, 90.0)
    """Range of the distance from one crista to the next."""
    thickness_nm: tuple[float, float] = (5.0, 9.0)
    """Range of half the thickness of cristae."""
    lumen: float = 0.0
    """Grey value between the two membranes of a crista, relative to the matrix; 0: only one line is seen."""
    membrane: float = Field(0.15, ge=0, le=1)
    """Grey value of the outer membranes."""
    band_nm: float = Field(0.0, ge=0)
    """Thickness of the outer membranes where both are seen as one even band; 0: as a line, or two."""
    swollen: float = Field(0.0, ge=0, le=1)
    """Part of them that holds light, empty rooms."""


def draw_mitochondrion(canvas: Canvas, box: Box, depth: np.ndarray, look: MitochondrionLook) -> bool:
    """Draw one mitochondrion and label it.

    Parameters
    ----------
    canvas : Canvas
        What is drawn on.
    box : Box
        Where.
    depth : (Z, Y, X) float32
        Distance to its outline in nm, positive inside.
    look : MitochondrionLook
        How it looks.

    Returns
    -------
    bool
        False, and nothing is drawn, where too little of it would be seen.
    """
    rng = canvas.rng
    free = ~canvas.taken[box]
    mask = (depth > 0) & free
    smallest = 6000.0 / (canvas.spacing[1] * canvas.spacing[2])
    if mask.sum(axis=(1, 2)).max(initial=0) < smallest or mask.sum() < 0.7 * (depth > 0).sum():
        return False
    matrix = np.float32(rng.uniform(*look.matrix))
    grey = matrix + np.float32(look.patches) * canvas.noise(110.0, box) + np.float32(0.025) * canvas.noise(18.0, box)
    kind = look.cristae[rng.integers(len(look.cristae))]
    contrast = np.float32(rng.uniform(*look.contrast))
    period = rng.uniform(*look.period_nm)
    if kind != "none":
        across = {"lamellar": _lamellae, "parallel": _sheets, "tubular": _tubes}[kind](canvas, box, period)
        inside = np.clip((depth - 14) / 8, 0, 1)
        width = max(rng.uniform(*look.thickness_nm), 0.7 * canvas.spacing[2])
        if look.lumen:
            half = rng.uniform(6, 12)
            grey = grey + inside * np.float32(look.lumen) * np.clip((half - across) / 4 + 0.5, 0, 1)
            across = np.abs(across - np.float32(half))
        grey = grey + contrast * inside * np.exp(-np.square(across / np.float32(width)))
    if rng.random() < look.swollen:
        room = canvas.noise(rng.uniform(120, 350), box) - np.float32(rng.uniform(0.5, 1.1))
        room = np.clip(room * 5, 0, 1) * np.clip((depth - 30) / 15, 0, 1)
        edge = room * (1 - room) * 4
        grey = grey + room * (np.float32(rng.uniform(0.75, 0.9)) - grey) - np.float32(0.25) * edge
    line = _membranes(canvas, depth, look.band_nm)
    grey = grey + line * (np.float32(look.membrane) - grey)
    canvas.image[box] = np.where(mask, grey, canvas.image[box])
    canvas.labels[box][mask] = int(canvas.labels.max()) + 1
    canvas.taken[box] |= (depth > -8) & free
    return True


def _membranes(canvas: Canvas, depth: np.ndarray, band_nm: float) -> np.ndarray:
    """(Z, Y, X) how much of the outer membranes is seen, 0..1."""
    if band_nm:
        return np.clip((np.float32(band_nm) - depth) / 4 + np.float32(0.5), 0, 1)
    wall = np.float32(max(6.0, 0.8 * canvas.spacing[2]))
    line = np.exp(-np.square((depth - wall) / wall))
    if canvas.rng.random() < 0.4:  # the inner membrane is seen apart from the outer one
        line = np.maximum(line, 0.7 * np.exp(-np.square((depth - 22) / wall)))
    return np.asarray(line)


def _lamellae(canvas: Canvas, box: Box, period: float) -> np.ndarray:
    """(Z, Y, X) distance to the middle of the next of parallel, bent, often broken sheets."""
    rng = canvas.rng
    direction = rng.normal(size=3) * (0.5, 1, 1)
    direction /= np.linalg.norm(direction)
    z, y, x = canvas.grid(box)
    along = np.float32(direction[0]) * z + np.float32(direction[1]) * y + np.float32(direction[2]) * x
    along = along + np.float32(rng.uniform(0.2, 1.4) * period) * canvas.noise(rng.uniform(150, 400), box)
    along = along + np.float32(rng.uniform(0.05, 0.35) * period) * canvas.noise(60.0, box)
    phase = along / np.float32(period) + np.float32(rng.uniform(0, 1))
    away = np.abs(phase - np.rint(phase)) * np.float32(period)
    gaps = np.clip(canvas.noise(rng.uniform(60, 220), box) - np.float32(rng.uniform(0.0, 1.5)), 0, None)
    return np.asarray(away + np.float32(60) * gaps)


def _sheets(canvas: Canvas, box: Box, period: float) -> np.ndarray:
    """(Z, Y, X) distance to the middle of the next of parallel, slightly bent sheets."""
    direction = canvas.rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    along = sum(np.float32(d) * g for d, g in zip(direction, canvas.grid(box), strict=True))
    phase = along / np.float32(period) + np.float32(0.3) * canvas.noise(150.0, box) + np.float32(canvas.rng.uniform(0, 1))
    return np.asarray(np.abs(phase - np.rint(phase)) * np.float32(period))


def _tubes(canvas: Canvas, box: Box, period: float) -> np.ndarray:
    """(Z, Y, X) distance, about, to the middle of the next of winding tubes."""
    one, two = canvas.noise(1.3 * period, box), canvas.noise(1.3 * period, box)
    return np.asarray(np.hypot(one, two) * np.float32(0.35 * period))
