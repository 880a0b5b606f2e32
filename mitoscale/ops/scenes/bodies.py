"""What is round and no mitochondrion: vesicles, dense cores, lysosomes, multivesicular bodies, lipid droplets, whorls of myelin."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mitoscale.ops.scenes.canvas import Canvas, body_depth

Kind = Literal["vesicle", "dense core", "granule", "lysosome", "multivesicular", "lipid", "whorl", "vacuole"]
"""Kinds of bodies."""

_RADIUS: dict[str, tuple[float, float]] = {
    "vesicle": (18, 32),
    "dense core": (30, 60),
    "granule": (10, 18),
    "lysosome": (90, 320),
    "multivesicular": (120, 320),
    "lipid": (130, 500),
    "whorl": (120, 400),
    "vacuole": (60, 260),
}
"""Range of the radius in nm."""


def scatter(canvas: Canvas, kind: Kind, per_um3: float, inside: np.ndarray | None = None) -> None:
    """Draw bodies of one kind at random places; mitochondria and other bodies are left as they are.

    Parameters
    ----------
    canvas : Canvas
        What is drawn on.
    kind : Kind
        What they are.
    per_um3 : float
        How many in a cubic micrometre, on average.
    inside : (Z, Y, X) bool, optional
        Where their centres may lie.
    """
    most = 1500 if kind in ("vesicle", "granule") else 60
    for _ in range(min(int(canvas.rng.poisson(per_um3 * canvas.volume_um3)), most)):
        centre = canvas.somewhere()
        voxel = np.clip((centre / canvas.spacing).astype(int), 0, np.array(canvas.shape) - 1)
        if inside is None or inside[tuple(voxel)]:
            draw_body(canvas, kind, centre)


def draw_body(canvas: Canvas, kind: Kind, centre: np.ndarray) -> None:
    """Draw one body where there is room.

    Parameters
    ----------
    canvas : Canvas
        What is drawn on.
    kind : Kind
        What it is.
    centre : (3,) float
        Where, in nm.
    """
    rng = canvas.rng
    small = kind in ("vesicle", "granule", "dense core")
    radius = float(np.exp(rng.uniform(*np.log(_RADIUS[kind]))))
    axes = radius * (rng.uniform(0.9, 1.1, 3) if small or kind == "lipid" else rng.uniform(0.7, 1.4, 3))
    if kind in ("granule", "vesicle"):
        axes = np.maximum(axes, np.array(canvas.spacing[1]) * 0.8)
    found = body_depth(canvas, centre, axes, rough=0.0 if small else 0.04 if kind == "lipid" else 0.15)
    if found is None:
        return
    box, depth = found
    free = ~canvas.taken[box]
    mask = depth > -8
    if not small and (mask & free).sum() < 0.7 * mask.sum():
        return
    base = canvas.image[box]
    wall = np.float32(max(5.0, 0.75 * canvas.spacing[2]))
    grey, line = _filled(canvas, kind, box, depth, base, radius)
    soft = np.clip(depth / np.float32(6.0) + 0.5, 0, 1)
    drawn = base + soft * (grey - base)
    drawn = drawn - np.float32(line) * np.exp(-np.square(depth / wall))
    canvas.image[box] = np.where(free, drawn, base)
    if not small:
        canvas.taken[box] |= mask


def _filled(
    canvas: Canvas, kind: Kind, box: tuple[slice, slice, slice], depth: np.ndarray, base: np.ndarray, radius: float
) -> tuple[np.ndarray | np.float32, float]:
    """Grey values inside, and how dark the line around is."""
    rng = canvas.rng
    if kind == "vesicle":
        return np.float32(rng.uniform(0.6, 0.8)), 0.3
    if kind == "granule":
        return np.float32(rng.uniform(0.1, 0.3)), 0.1
    if kind == "dense core":
        return np.where(depth > rng.uniform(5, 14), np.float32(rng.uniform(0.1, 0.3)), np.float32(0.65)), 0.25
    if kind == "lipid":
        return np.float32(rng.choice([rng.uniform(0.5, 0.9), rng.uniform(0.1, 0.5)])), rng.uniform(0.0, 0.4)
    if kind == "vacuole":
        return np.float32(rng.uniform(0.75, 0.95)), 0.35
    level = np.float32(rng.uniform(0.15, 0.5))
    if kind == "whorl":
        period = rng.uniform(14, 40)
        waves = np.cos(depth * np.float32(2 * np.pi / period) + 2 * canvas.noise(radius, box))
        return level + np.float32(0.25) * waves, 0.3
    if kind == "lysosome":
        coarse = canvas.noise(rng.uniform(20, 150), box)
        return level + np.float32(rng.uniform(0.02, 0.14)) * coarse, rng.uniform(0.1, 0.35)
    level = np.float32(rng.uniform(0.3, 0.75))
    spots = canvas.noise(rng.uniform(35, 70), box)
    shell = np.exp(-np.square((spots - np.float32(0.7)) * np.float32(3)))
    return level - np.float32(0.35) * shell + np.float32(0.15) * np.clip((spots - 0.8) * 3, 0, 1), 0.35
