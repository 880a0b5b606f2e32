"""What is picked in the viewer: jumps to places, and the rows of selected objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.corrections.object_lists import ObjectLists
from mitoscale.viewer.server import Command

_ROWS = 20
"""So many selected objects are told of."""


class Picks:
    """Reads and sets neuroglancer's state for the page around it.

    Parameters
    ----------
    viewer : neuroglancer.Viewer
        What is shown.
    layers : sequence of str
        The layers of labels; the first that is there counts.
    tables : callable
        The run's tables by now.
    row : callable
        What is known of an object that somebody corrected; empty where nobody did.
    """

    def __init__(
        self,
        viewer: Any,
        layers: Sequence[str],
        tables: Callable[[], ObjectLists],
        row: Callable[[int], dict[str, Any]] = lambda label: {},
    ) -> None:
        self._viewer, self._layers, self._tables, self._row = viewer, layers, tables, row

    def commands(self) -> dict[str, Command]:
        """What the page may ask for."""
        return {"jump": self.jump, "picked": self.picked, "clear": self.clear}

    def jump(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Go to a position (z, y, x) or to the middle of an object, and select the object that is meant."""
        label, position = int(asked.get("label") or 0), asked.get("position")
        if position is None:
            position = self._tables().centroid(label)
        if position is None:
            raise InputError(f"there is no object {label}")
        with self._viewer.txn() as state:
            state.position = [float(v) for v in reversed(position)]
            layer = self._layer(state)
            if label and layer is not None:
                layer.segments = [label]
        return {"position": list(position)}

    def picked(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Where the view is (z, y, x), and the selected objects' rows."""
        state = self._viewer.state
        layer = self._layer(state)
        chosen = sorted(int(s) for s in layer.segments) if layer is not None else []
        position = [float(v) for v in state.position][::-1]
        tables = self._tables()
        return {
            "position": position,
            "objects": chosen,
            "rows": [self._row(s) or tables.row(s) or {"label": s} for s in chosen[:_ROWS]],
        }

    def clear(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Select nothing."""
        with self._viewer.txn() as state:
            layer = self._layer(state)
            if layer is not None:
                layer.segments = []
        return {}

    def _layer(self, state: Any) -> Any:
        """The layer of labels that is shown; None where there are no labels yet."""
        there = {layer.name: layer.layer for layer in state.layers}
        return next((there[name] for name in self._layers if name in there), None)
