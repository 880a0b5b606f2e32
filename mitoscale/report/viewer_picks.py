"""What is picked in the viewer: jumps to places, and the rows of selected objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.report.object_lists import ObjectLists
from mitoscale.report.viewer_server import Command

_ROWS = 20
"""So many selected objects are told of."""


class Picks:
    """Reads and sets neuroglancer's state for the page around it.

    Parameters
    ----------
    viewer : neuroglancer.Viewer
        What is shown.
    layer : str
        The layer of the run's labels.
    tables : callable
        The run's tables by now.
    """

    def __init__(self, viewer: Any, layer: str, tables: Callable[[], ObjectLists]) -> None:
        self._viewer, self._layer, self._tables = viewer, layer, tables

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
            if label:
                state.layers[self._layer].layer.segments = [label]
        return {"position": list(position)}

    def picked(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Where the view is (z, y, x), and the selected objects' rows."""
        state = self._viewer.state
        layer = next((layer.layer for layer in state.layers if layer.name == self._layer), None)
        chosen = sorted(int(s) for s in layer.segments) if layer is not None else []
        position = [float(v) for v in state.position][::-1]
        tables = self._tables()
        return {"position": position, "objects": chosen, "rows": [tables.row(s) or {"label": s} for s in chosen[:_ROWS]]}

    def clear(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Select nothing."""
        with self._viewer.txn() as state:
            state.layers[self._layer].layer.segments = []
        return {}
