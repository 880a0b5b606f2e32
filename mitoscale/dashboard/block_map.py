"""The map of a run's blocks: its layers side by side, each block or box of blocks a rectangle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, CustomJSHover, DataRange1d, HoverTool
from bokeh.models.annotations.labels import LabelSet
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from mitoscale.dashboard.board import Board, State
from mitoscale.dashboard.colours import Legend
from mitoscale.dashboard.map_cells import Cells

PLACES = ("left", "right", "top", "bottom", "z0", "z1", "y0", "y1", "x0", "x1", "blocks")
"""Columns that say where a cell is drawn, and what it covers."""

COUNTS = ("code", "done", "total", "lost")
"""Columns that change while a run goes on."""

COLUMNS = (*PLACES, *COUNTS)
"""Columns of the map's data source: where each cell lies, and its counts."""

EVERYTHING = "how far each block is"
"""Shows the last stage that each cell has behind it, and over it what happens now."""

ALL_LAYERS = "all layers"

_GAP = 0.06
"""Between layers, part of their width."""

_ASPECT = 1.45
"""Width to height of the place for all layers."""


class BlockMap:
    """The figure and its data.

    Parameters
    ----------
    legend : Legend
        Codes and colours.
    """

    def __init__(self, legend: Legend) -> None:
        self.legend = legend
        self.source = ColumnDataSource({name: [] for name in COLUMNS})
        self._titles = ColumnDataSource({"x": [], "y": [], "text": []})
        self._laid: tuple[Cells, str, tuple[float, ...]] | None = None
        colour = linear_cmap("code", legend.palette, low=-0.5, high=len(legend.palette) - 0.5)
        self.figure = figure(
            x_range=DataRange1d(range_padding=0.01),
            y_range=DataRange1d(flipped=True, range_padding=0.06),  # there is a title above the first layers
            match_aspect=True,
            tools="pan,wheel_zoom,box_zoom,reset,save",
            active_scroll=None,
            toolbar_location="above",
            sizing_mode="stretch_both",
            min_height=420,
            outline_line_color=None,
            background_fill_color=None,
        )
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.cells = self.figure.quad(
            left="left", right="right", top="top", bottom="bottom", source=self.source, fill_color=colour, line_color="white"
        )
        self.figure.add_layout(
            LabelSet(
                x="x", y="y", text="text", source=self._titles, text_font_size="11px", text_color="#555555", text_baseline="bottom"
            )
        )
        names = CustomJSHover(args={"names": legend.names}, code="return names[Math.round(value)]")
        self.figure.add_tools(
            HoverTool(
                renderers=[self.cells],
                formatters={"@code": names},
                tooltips=[
                    ("", "@code{custom}"),
                    ("voxels z", "@z0{0} to @z1{0}"),
                    ("voxels y", "@y0{0} to @y1{0}"),
                    ("voxels x", "@x0{0} to @x1{0}"),
                    ("blocks", "@blocks{0}"),
                    ("tasks done", "@done{0} of @total{0}"),
                    ("given up", "@lost{0}"),
                ],
            )
        )

    def show(self, board: Board, stage: str, layer: str, running: Mapping[str, list[str]]) -> None:
        """Bring it up to date.

        Parameters
        ----------
        board : Board
            What is shown.
        stage : str
            A stage, or ``EVERYTHING``.
        layer : str
            One of :func:`layers`, or ``ALL_LAYERS``.
        running : mapping
            For each stage the tasks that workers have.
        """
        chosen = slice(None)
        if layer in (names := layers(board.cells)):
            chosen = slice(names.index(layer), names.index(layer) + 1)
        self._lay_out(board, chosen, layer)
        columns = cell_columns(board, stage, running, self.legend)
        new = {name: values[chosen].ravel() for name, values in columns.items()}
        changed = {k: v for k, v in new.items() if not np.array_equal(v, self.source.data[k])}
        if changed:
            self.source.data.update(changed)

    def _lay_out(self, board: Board, chosen: slice, layer: str) -> None:
        """Place the rectangles, where that is to be done anew; all columns then have their new length."""
        wanted = (board.cells, layer, board.spacing)
        if wanted == self._laid:
            return
        self._laid = wanted
        data, titles = layout(board, chosen)
        count = len(data["left"])
        data |= {name: np.zeros(count, np.uint32) for name in COUNTS}
        self.source.data = data
        self._titles.data = titles
        self.cells.glyph.line_width = 1.0 if count < 1500 else 0.3


def layers(cells: Cells) -> list[str]:
    """The names of a map's layers."""
    z = cells.bounds(0)
    return [f"z {a} to {b}" for a, b in zip(z[:-1].tolist(), z[1:].tolist(), strict=True)]


def layout(board: Board, chosen: slice) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns that place each cell of the chosen layers, layer after layer, and those of the layers' titles.

    Parameters
    ----------
    board : Board
        The run.
    chosen : slice
        Layers of cells along z that are shown.
    """
    cells, spacing = board.cells, board.spacing
    z, y, x = (cells.bounds(axis) for axis in range(3))
    names = layers(cells)[chosen]
    width, height = (x[-1] - x[0]) * spacing[2], (y[-1] - y[0]) * spacing[1]
    gap = _GAP * max(width, height)
    columns = _columns(len(names), width + gap, height + 1.6 * gap)
    number, row, column = np.meshgrid(np.arange(len(names)), np.arange(len(y) - 1), np.arange(len(x) - 1), indexing="ij")
    layer = number + range(len(z))[chosen].start
    right, down = number % columns * (width + gap), number // columns * (height + 1.6 * gap)
    places = {
        "left": right + (x[column] - x[0]) * spacing[2],
        "right": right + (x[column + 1] - x[0]) * spacing[2],
        "top": down + (y[row] - y[0]) * spacing[1],
        "bottom": down + (y[row + 1] - y[0]) * spacing[1],
        **{"z0": z[layer], "z1": z[layer + 1], "y0": y[row], "y1": y[row + 1], "x0": x[column], "x1": x[column + 1]},
        "blocks": cells.blocks()[chosen],
    }
    order = np.arange(len(names))
    titles = {"x": order % columns * (width + gap), "y": order // columns * (height + 1.6 * gap) - 0.1 * gap, "text": names}
    return {name: values.ravel() for name, values in places.items()}, titles


def _columns(count: int, width: float, height: float) -> int:
    """In how many columns pictures of one size are largest."""

    def scale(columns: int) -> float:
        return min(_ASPECT / (columns * width), 1 / (math.ceil(count / columns) * height))

    return max(range(1, count + 1), key=scale)


def cell_columns(board: Board, stage: str, running: Mapping[str, list[str]], legend: Legend) -> dict[str, np.ndarray]:
    """(Z, Y, X) arrays of the cells' codes, and of their tasks done, given up, and in all.

    Parameters
    ----------
    board : Board
        The run.
    stage : str
        The stage that is shown.
    running : mapping of str to list of str
        Tasks that workers have now, for each stage.
    legend : Legend
        Gives states their codes.
    """
    shape = board.cells.shape
    if stage in board.tallies:
        tally = board.tallies[stage]
        states = tally.states(running.get(stage, []))
        code = np.array([legend.code(state, stage) for state in State], np.uint32)[states]
        columns = {"code": code, "done": tally.done, "total": tally.total, "lost": tally.lost}
        return {name: np.broadcast_to(values, shape).astype(np.uint32) for name, values in columns.items()}
    code = board.furthest().astype(np.uint32)
    done, total, lost = (np.zeros(shape, np.uint32) for _ in range(3))
    for name, tally in board.tallies.items():
        states = np.broadcast_to(tally.states(running.get(name, [])), shape)
        for state in (State.running, State.retrying, State.quarantined):
            code[states == state] = np.maximum(code[states == state], legend.code(state, name))
        done, total, lost = done + tally.done, total + tally.total, lost + tally.lost
    return {"code": code, "done": done, "total": total, "lost": lost}
