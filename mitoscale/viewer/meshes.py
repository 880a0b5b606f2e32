"""Meshes of single objects, made when somebody looks at them, from a level that is fine enough to be seen."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from mitoscale.core.errors import MitoscaleError
from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.replay import LARGEST, Corrections
from mitoscale.ops.mesh import surface_mesh
from mitoscale.storage.arrays import open_array

_EDGE = 160
"""A mesh is made from the finest level on which the object's box is at most so many voxels long."""

_KEPT = 512
"""Meshes that are kept in memory."""


class Meshes:
    """Makes meshes and keeps the latest.

    Parameters
    ----------
    plan : RunPlan
        Of the run whose labels are drawn.
    box : callable
        Where an object lies, in level-0 voxels; None where there is none.
    """

    def __init__(self, plan: RunPlan, box: Callable[[int], Region | None]) -> None:
        self._plan, self._box = plan, box
        self._made: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, label: int) -> bytes | None:
        """An object's mesh as neuroglancer's legacy format has it: vertices x, y, z in nm, then triangles; None without one."""
        box = self._box(label)
        if box is None:
            return None
        with self._lock:  # one at a time: a click must not start a hundred
            if label not in self._made:
                self._made[label] = _encoded(*self._mesh(label, box))
                while len(self._made) > _KEPT:
                    self._made.popitem(last=False)
            self._made.move_to_end(label)
            return self._made[label]

    def _mesh(self, label: int, box: Region) -> tuple[np.ndarray, np.ndarray]:
        spec = self._plan.spec
        level = next((i for i, f in enumerate(spec.factors) if max(box.downsampled(f).shape) <= _EDGE), len(spec.factors) - 1)
        factor = spec.factors[level]
        part = box.downsampled(factor)
        try:
            labels = open_array(f"{self._plan.labels}/{level}", missing="fill").read(part)
        except MitoscaleError:  # the run is at work on it
            return surface_mesh(np.zeros((1, 1, 1), bool), spec.spacing)
        step = -(-max(part.shape) // (2 * _EDGE))
        mask = labels[::step, ::step, ::step] == label
        size = [s * step for s in spec.level_spacing(level)]
        origin = [
            a * f * s + (f - 1) / 2 * s for a, f, s in zip(part.start, factor, spec.spacing, strict=True)
        ]  # the middle of a coarse voxel is that of what it spans
        return surface_mesh(mask, (size[0], size[1], size[2]), (origin[0], origin[1], origin[2]))


def mesh_of_changed(corrected: Corrections, label: int) -> bytes | None:
    """The mesh of an object that a correction changed, from full resolution or every n-th voxel; None where there is none.

    Parameters
    ----------
    corrected : Corrections
        The labels with corrections.
    label : int
        The object.
    """
    known = corrected.box(label)
    if known is None or known[0].size > LARGEST:
        return None
    box, spacing = known[0], corrected.plan.spec.spacing
    step = -(-max(box.shape) // (2 * _EDGE))
    mask = corrected.read(box)[::step, ::step, ::step] == label
    size, origin = [s * step for s in spacing], [a * s for a, s in zip(box.start, spacing, strict=True)]
    return _encoded(*surface_mesh(mask, (size[0], size[1], size[2]), (origin[0], origin[1], origin[2])))


def _encoded(vertices: np.ndarray, triangles: np.ndarray) -> bytes:
    return struct.pack("<I", len(vertices)) + vertices.astype("<f4").tobytes() + triangles.astype("<u4").tobytes()
