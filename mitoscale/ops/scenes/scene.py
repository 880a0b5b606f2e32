"""Scenes: pictures of many tissues with exact truth, made from a preset and a seed, to teach a network what it has never seen.

Nothing is copied from data: tissues are drawn from what they are made of. Whatever is no mitochondrion has label 0.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing, Triple
from mitoscale.ops.scenes.canvas import Canvas
from mitoscale.ops.scenes.cell_body import CellBody, draw_cell_body
from mitoscale.ops.scenes.microscope import Microscope, expose
from mitoscale.ops.scenes.mitochondrion_look import MitochondrionLook
from mitoscale.ops.scenes.muscle import Muscle, draw_muscle
from mitoscale.ops.scenes.neuropil import Neuropil, draw_neuropil
from mitoscale.ops.scenes.tubes import Tubes, draw_tubes

SMALLEST = 96
"""Height and width of a scene, at least."""


SINGLE_NM = 1000.0
"""Distance of slices that single pictures are said to have: nothing is known of what lies above and below."""

_SECTION_NM = 50.0
"""Thickness of a single picture's section."""


class SceneSettings(BaseModel):
    """What a scene shows, and how it is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tissue: Neuropil | Muscle | CellBody | Tubes
    """What is drawn."""
    mitochondria: MitochondrionLook = MitochondrionLook()
    """How its mitochondria look."""
    per_um3: tuple[float, float] = (1.0, 4.0)
    """Range of their number in a cubic micrometre; muscle is packed instead."""
    microscope: Microscope = Microscope()
    """How the picture is taken."""
    pixel_nm: tuple[float, float] = (4.0, 9.0)
    """Range of the pixel size."""
    slice_nm: tuple[float, float] = (5.0, 50.0)
    """Range of the distance of slices."""
    weight: float = Field(1.0, ge=0)
    """How often it is drawn, relative to others; 0: drawn by name only."""


class Scene(BaseModel):
    """A picture and its truth."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    image: np.ndarray
    """(Z, Y, X) uint8 grey values."""
    labels: np.ndarray
    """(Z, Y, X) uint32 truth: 0 is background, each mitochondrion has its own label."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""


def make_scene(settings: SceneSettings, shape: Triple, seed: int) -> Scene:
    """Draw a scene.

    Parameters
    ----------
    settings : SceneSettings
        What it shows; :data:`mitoscale.ops.scenes.presets.PRESETS` has some.
    shape : (z, y, x)
        Shape in voxels, at least 96 in y and x; one slice is a single picture.
    seed : int
        The same seed gives the same scene.

    Raises
    ------
    InputError
        If it is too small.
    """
    if shape[0] < 1 or min(shape[1:]) < SMALLEST:
        raise InputError(f"a scene of {shape} voxels is too small: it needs 1 slice and {SMALLEST} x {SMALLEST} pixels at least")
    rng = np.random.default_rng(seed)
    pixel = float(np.exp(rng.uniform(*np.log(settings.pixel_nm))))
    depth = float(max(np.exp(rng.uniform(*np.log(settings.slice_nm))), pixel)) if shape[0] > 1 else _SECTION_NM
    canvas = Canvas(shape=shape, spacing=(depth, pixel, pixel), rng=rng)
    per_um3 = float(rng.uniform(*settings.per_um3))
    if isinstance(settings.tissue, Neuropil):
        draw_neuropil(canvas, settings.tissue, settings.mitochondria, per_um3)
    elif isinstance(settings.tissue, Muscle):
        draw_muscle(canvas, settings.tissue, settings.mitochondria)
    elif isinstance(settings.tissue, Tubes):
        draw_tubes(canvas, settings.tissue, settings.mitochondria, max(int(rng.poisson(per_um3 * canvas.volume_um3)), 1))
    else:
        draw_cell_body(canvas, settings.tissue, settings.mitochondria, per_um3)
    image = expose(canvas, settings.microscope)
    spacing = canvas.spacing if shape[0] > 1 else (SINGLE_NM, pixel, pixel)
    return Scene(image=image, labels=canvas.labels, spacing=spacing)
