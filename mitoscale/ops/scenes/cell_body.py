"""Cell bodies and fibroblasts: cytoplasm with ER, many kinds of bodies and long mitochondria; a nucleus with chromatin."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mitoscale.ops.scenes.bodies import scatter
from mitoscale.ops.scenes.canvas import Canvas, body_depth
from mitoscale.ops.scenes.mitochondrion_look import MitochondrionLook, draw_mitochondrion


class CellBody(BaseModel):
    """How the inside of a cell looks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cytoplasm: tuple[float, float] = (0.45, 0.75)
    """Range of its grey value."""
    nucleus: float = Field(0.4, ge=0, le=1)
    """Chance that there is a nucleus."""
    reticulum: tuple[float, float] = (0.0, 0.3)
    """Range of how dark the membranes of the ER are."""
    radius_nm: tuple[float, float] = (90.0, 280.0)
    """Range of the radius of mitochondria."""
    longest: float = Field(6.0, ge=1)
    """Longest mitochondrion, in its widths."""
    bodies: float = Field(1.0, ge=0)
    """How many lysosomes, multivesicular bodies and lipid droplets there are, relative to the usual number."""


def draw_cell_body(canvas: Canvas, tissue: CellBody, look: MitochondrionLook, per_um3: float) -> None:
    """Draw the inside of a cell.

    Parameters
    ----------
    canvas : Canvas
        An empty one.
    tissue : CellBody
        How the tissue looks.
    look : MitochondrionLook
        How its mitochondria look.
    per_um3 : float
        Mitochondria wanted in a cubic micrometre.
    """
    rng = canvas.rng
    grain = canvas.noise(rng.uniform(15, 30)) * 0.7 + canvas.noise(rng.uniform(40, 100)) * 0.7
    canvas.image = np.float32(rng.uniform(*tissue.cytoplasm)) + np.float32(rng.uniform(0.03, 0.09)) * grain
    canvas.image += np.float32(0.03) * canvas.noise(600)
    wall = _outside(canvas)
    _reticulum(canvas, rng.uniform(*tissue.reticulum))
    if rng.random() < tissue.nucleus:
        _nucleus(canvas)
    room = wall > 60
    for kind, rate in (("lipid", 0.35), ("lysosome", 0.8), ("multivesicular", 0.6), ("whorl", 0.2), ("vacuole", 0.8)):
        scatter(canvas, kind, tissue.bodies * rate * rng.gamma(1.0), room)  # type: ignore[arg-type]
    wanted = max(int(rng.poisson(per_um3 * canvas.volume_um3)), 1)
    placed = 0
    for _ in range(wanted * 10):
        if placed >= wanted:
            break
        voxel = tuple(int(rng.integers(n)) for n in canvas.shape)
        if canvas.taken[voxel] or wall[voxel] < 80:
            continue
        radius = rng.uniform(*tissue.radius_nm)
        axes = radius * np.array([np.exp(rng.uniform(0, np.log(tissue.longest))), rng.uniform(0.9, 1.3), 1.0])
        found = body_depth(canvas, np.array(voxel) * canvas.spacing, axes, bend=rng.uniform(0, 0.7), rough=rng.uniform(0.05, 0.2))
        if found is not None:
            placed += draw_mitochondrion(canvas, found[0], np.minimum(found[1], wall[found[0]] - 15), look)
    scatter(canvas, "vesicle", rng.uniform(5, 80), room)
    scatter(canvas, "dense core", rng.gamma(1.0, 3.0), room)
    scatter(canvas, "granule", rng.uniform(0, 250), room & (canvas.noise(500) > 0))


def _outside(canvas: Canvas) -> np.ndarray:
    """Draw the cell's border and what is beyond, at times; returns (Z, Y, X) the distance to it in nm, about."""
    rng = canvas.rng
    if rng.random() < 0.5:
        return np.full(canvas.shape, 1e4, np.float32)
    z, y, x = canvas.grid(canvas.whole)
    angle = rng.uniform(0, 2 * np.pi)
    middle = canvas.extent / 2
    flat = np.float32(np.cos(angle)) * (y - np.float32(middle[1])) + np.float32(np.sin(angle)) * (x - np.float32(middle[2]))
    wall = flat + np.float32(rng.uniform(-0.1, 0.4) * middle[1:].min()) + np.float32(120) * canvas.noise(700) + 0.1 * z
    light = np.float32(rng.uniform(0.6, 0.95))
    beyond = light + np.float32(rng.uniform(0.0, 0.05)) * canvas.noise(50)
    soft = np.clip(wall / 8 + 0.5, 0, 1)
    canvas.image = beyond + soft * (canvas.image - beyond)
    canvas.image -= np.float32(0.35) * np.exp(-np.square(wall / 9))
    canvas.taken |= wall < 5
    return np.asarray(wall)


def _reticulum(canvas: Canvas, strength: float) -> None:
    """Draw pairs of membranes with a light room between, as sheets that come and go."""
    rng = canvas.rng
    scale = rng.uniform(300, 900)
    sheet = canvas.noise(scale)
    slope = np.float32(2.2 / scale)  # of noise of deviation 1, a nm
    away = np.abs(sheet - np.float32(rng.uniform(-0.5, 0.5))) / slope
    away = np.abs(np.mod(away, np.float32(rng.uniform(120, 400))) - 40)
    seen = np.clip(canvas.noise(500) * 2 + np.float32(rng.uniform(-1, 1)), 0, 1) * ~canvas.taken
    half = np.float32(rng.uniform(12, 25))
    line = np.exp(-np.square((away - half) / np.float32(max(6.0, 0.7 * canvas.spacing[2]))))
    canvas.image += seen * np.float32(strength) * (0.4 * np.clip((half - away) / 5, 0, 1) - line)


def _nucleus(canvas: Canvas) -> None:
    """Draw a nucleus with its envelope and chromatin, cut by the border."""
    rng = canvas.rng
    side = float(canvas.extent[1:].min())
    axes = side * rng.uniform(0.35, 0.9, 3)
    centre = canvas.extent * np.append(0.5, rng.choice([0.0, 1.0], 2) + rng.normal(0, 0.15, 2))
    found = body_depth(canvas, centre, axes, rough=0.08)
    if found is None:
        return
    box, depth = found
    inner = np.clip(depth / 8 + 0.5, 0, 1) * ~canvas.taken[box]
    clumps = canvas.noise(rng.uniform(150, 500), box) + np.exp(-np.clip(depth, 0, None) / np.float32(120)) * 1.2
    chromatin = np.clip((clumps - np.float32(rng.uniform(0.5, 1.3))) * 4, 0, 1)
    grey = np.float32(rng.uniform(0.5, 0.75)) - np.float32(rng.uniform(0.15, 0.4)) * chromatin
    grey = grey + np.float32(0.05) * canvas.noise(25, box)
    image = canvas.image[box]
    image = image + inner * (grey - image)
    for line in (0.0, 30.0):
        image = image - np.float32(0.3) * np.exp(-np.square((depth + line) / 8)) * ~canvas.taken[box]
    canvas.image[box] = image
    canvas.taken[box] |= depth > -40
