"""Phantoms: EM-like volumes with known mitochondria, made from a seed.

A phantom has what makes real volumes hard: cell membranes, vesicles, dark bodies that are no mitochondria, cristae, tubes that
bend and branch, neighbours that touch, uneven slices and noise. Its truth is exact, so that anyone can score a run without data.
It is drawn like scenes of the preset ``phantom``, with as many mitochondria and voxels of such a size as are asked for.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from mitoscale.core.geometry import Spacing, Triple
from mitoscale.ops.scenes.canvas import Canvas
from mitoscale.ops.scenes.microscope import expose
from mitoscale.ops.scenes.presets import PRESETS
from mitoscale.ops.scenes.tubes import Tubes, draw_tubes


class Phantom(BaseModel):
    """An EM-like volume and its truth."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    image: np.ndarray
    """(Z, Y, X) uint8 grey values; mitochondria and membranes are dark."""
    labels: np.ndarray
    """(Z, Y, X) uint32 truth: 0 is background, each mitochondrion has its own label."""
    touching: frozenset[int]
    """Labels of the mitochondria that touch another one (26-neighbourhood)."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""


def make_phantom(
    shape: Triple, seed: int, *, objects: int, touching: float = 0.25, spacing: Spacing = (10.0, 10.0, 10.0)
) -> Phantom:
    """Make a phantom.

    Parameters
    ----------
    shape : (z, y, x)
        Shape in voxels; with fewer than 32 on an axis few mitochondria find a place.
    seed : int
        The same seed gives the same phantom.
    objects : int
        Number of mitochondria wanted; fewer where they do not fit.
    touching : float
        Part of the mitochondria, 0..1, that is placed against another one, as far as there is room.
    spacing : (z, y, x)
        Voxel size in nm.

    Returns
    -------
    Phantom

    Examples
    --------
    >>> phantom = make_phantom((32, 64, 64), objects=4, seed=1)
    >>> phantom.image.dtype, phantom.labels.shape, int(phantom.labels.max()) >= 2
    (dtype('uint8'), (32, 64, 64), True)
    """
    settings = PRESETS["phantom"]
    assert isinstance(settings.tissue, Tubes)
    tissue = Tubes(**dict(settings.tissue) | {"touching": touching})
    canvas = Canvas(shape=shape, spacing=spacing, rng=np.random.default_rng(seed))
    touch = draw_tubes(canvas, tissue, settings.mitochondria, objects)
    return Phantom(image=expose(canvas, settings.microscope), labels=canvas.labels, touching=touch, spacing=spacing)
