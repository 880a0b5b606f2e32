"""Corrections in the viewer: its buttons, the marks of a split, and the layer that shows labels as they are corrected."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import neuroglancer
import numpy as np

from mitoscale.core.edit import in_force
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.core.quantities import volume_text
from mitoscale.corrections.editor import Editor, done, editing, told
from mitoscale.corrections.object_lists import Place
from mitoscale.corrections.replay import Corrections
from mitoscale.ops.follow_slices import SLICES, Box
from mitoscale.storage.edit_log import EditLog
from mitoscale.viewer.layers import corrected_layer, space
from mitoscale.viewer.server import Command

LAYER = "corrected"
"""The layer of corrected labels; it stands in for the run's own as soon as there is a correction."""

_AT_MARKS = ("split", "add", "draw")
"""Corrections that are made where the marks are."""

MARKS = "marks"
"""The layer of the latest two marks."""


class Edits:
    """Corrects a run from the page around neuroglancer.

    Parameters
    ----------
    plan : RunPlan
        The run.
    viewer : neuroglancer.Viewer
        What is shown.
    own : str
        The layer of the run's own labels.
    meshes : callable
        Address of the corrected objects' meshes by now.
    """

    def __init__(self, plan: RunPlan, viewer: Any, own: str, meshes: Callable[[], str]) -> None:
        self._plan, self._viewer, self._own, self._meshes = plan, viewer, own, meshes
        self._log = EditLog(plan.run, plan.settings.convert.fingerprint)
        self._marks: list[Triple] = []
        self._volume: Any = None
        self.corrected = Corrections.of(plan, in_force(self._log.read()))
        viewer.actions.add("mitoscale-mark", self._mark)
        with viewer.config_state.txn() as config:
            config.input_event_bindings.viewer["keym"] = "mitoscale-mark"
        if self.corrected.applied:
            self._show()

    def commands(self) -> dict[str, Command]:
        """What the page may ask for."""
        return {"edit": self.edit, "edits": self.edits}

    def edit(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make a correction (``kind``) of the selected objects (``objects``), or at the marks."""
        kind, objects = str(asked.get("kind")), [int(v) for v in asked.get("objects", [])]
        if kind == "unmark":
            self._marks = []
            self._draw_marks()
            return {"said": ""}
        with editing(self._plan) as editor:
            made = self._make(editor, kind, objects, int(asked.get("slices", SLICES)))
            self.corrected = editor.corrected
        if kind in _AT_MARKS:
            self._marks = []
        self._show()
        new = [str(change.new) for change in self.corrected.applied[-1].changes] if kind in _AT_MARKS else []
        return {"said": told(made) + (f": new object {', '.join(new)}" if new else "")}

    def edits(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The corrections in force, latest first, and the marks (z, y, x)."""
        latest = list(reversed(self.corrected.applied))[:100]
        lines = [{"done": done(e.edit) + (" (no longer fits)" if e.unfit else ""), "told": told(e.edit)} for e in latest]
        return {"edits": lines, "marks": self._marks}

    @property
    def gone(self) -> set[int]:
        """Objects that a correction has removed, or given to others."""
        return {label for label in self.corrected.touched if self.corrected.box(label) is None}

    def changed(self) -> list[Place]:
        """Objects that a correction has changed or made, the newest first."""
        found = []
        for label in sorted(self.corrected.touched - self.gone, reverse=True):
            known = self.corrected.box(label)
            assert known is not None
            z, y, x = ((a + b - 1) / 2 for a, b in zip(known[0].start, known[0].stop, strict=True))
            volume = volume_text(known[1] * math.prod(self._plan.spec.spacing))
            found.append(Place(text=f"{label}: {volume}", position=(z, y, x), label=label))
        return found

    def row(self, label: int) -> dict[str, Any]:
        """What is known of an object that a correction changed; empty where none did."""
        known = self.corrected.box(label) if label in self.corrected.touched else None
        if known is None:
            return {}
        return {"label": label, "volume_nm3": known[1] * math.prod(self._plan.spec.spacing)}

    def _make(self, editor: Editor, kind: str, objects: Sequence[int], slices: int) -> Any:
        if kind in ("merge", "delete", "accept"):
            if not objects:
                raise InputError(f"{kind}: select objects first, with a double-click")
            return getattr(editor, kind)(objects)
        if kind == "split":
            if len(self._marks) != 2:
                raise InputError("split: point into each part and press m")
            return editor.split(editor.corrected.label_at(editor.nm(self._marks[0])), *self._marks)
        if kind == "add":
            if not self._marks:
                raise InputError("add: point at what was missed and press m")
            return editor.add(self._marks[-1])
        if kind == "draw":
            return editor.draw(*_prompt_of(self._marks), slices)
        if kind == "undo":
            return editor.undo()
        raise InputError(f"there is no correction {kind}")

    def _mark(self, state: Any) -> None:
        """Keep where the mouse points; voxels have their middle at whole numbers here."""
        if state.mouse_voxel_coordinates is None:
            return
        x, y, z = (math.floor(float(v) + 0.5) for v in state.mouse_voxel_coordinates[:3])
        self._marks = [*self._marks[-1:], (z, y, x)]
        self._draw_marks()

    def _draw_marks(self) -> None:
        points = [neuroglancer.PointAnnotation(id=str(i), point=list(reversed(mark))) for i, mark in enumerate(self._marks)]
        with self._viewer.txn() as state:
            state.layers[MARKS] = neuroglancer.LocalAnnotationLayer(
                dimensions=space(self._plan), annotations=points, annotation_color="#ffd24d"
            )

    def _show(self) -> None:
        """Show labels as they are corrected by now, in the place of the run's own."""
        self._draw_marks()
        if self._volume is not None:
            self._volume.invalidate()
            with self._viewer.txn() as state:
                state.layers[LAYER].layer.segments = []
            return
        labels = self.corrected.tables.objects.get("label", np.zeros(0, np.uint64))
        layer, self._volume = corrected_layer(self._plan, _Now(self), self._meshes(), labels)
        with self._viewer.txn() as state:
            state.layers[LAYER] = layer
            state.layers[self._own].visible = False
            state.layers[self._own].layer.segments = []


def _prompt_of(marks: Sequence[Triple]) -> tuple[Triple, Box | None]:
    """What SAM is asked: the latest mark, or where both lie in one slice the box between them."""
    if not marks:
        raise InputError("draw: point at what was missed and press m, or mark two corners of a box around it")
    if len(marks) < 2 or marks[0][0] != marks[1][0]:
        return marks[-1], None
    (z, *first), (_, *second) = marks
    low, high = [min(pair) for pair in zip(first, second, strict=True)], [max(pair) for pair in zip(first, second, strict=True)]
    middle = (z, (low[0] + high[0]) // 2, (low[1] + high[1]) // 2)
    return middle, (low[0], low[1], high[0] + 1, high[1] + 1)


class _Now:
    """Labels with the corrections of this moment, as an array that is read when it is indexed."""

    def __init__(self, edits: Edits) -> None:
        self._edits = edits
        self.shape, self.ndim = edits.corrected.plan.spec.shape, 3
        self.dtype: np.dtype[Any] = np.dtype("uint64")

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        (z0, z1), (y0, y1), (x0, x1) = ((int(s.start), int(s.stop)) for s in index)
        return self._edits.corrected.read(Region(start=(z0, y0, x0), stop=(z1, y1, x1))).astype(np.uint64)
