"""The graph of a run's pace: Mvoxel/s over time, in the colours of the stages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool
from bokeh.plotting import figure

from mitoscale.dashboard.board import Board
from mitoscale.dashboard.colours import Legend

SHORTEST = 0.5
"""Seconds; in a shorter stretch of time a single task would seem very fast."""


class PaceGraph:
    """The figure and its data.

    Parameters
    ----------
    legend : Legend
        The stages' colours.
    """

    def __init__(self, legend: Legend) -> None:
        self.legend = legend
        self.source = ColumnDataSource(columns(None, legend))
        self.figure = figure(
            height=190,
            sizing_mode="stretch_width",
            x_axis_type="datetime",
            y_range=DataRange1d(start=0),
            tools="",
            toolbar_location=None,
            title="Pace",
            outline_line_color=None,
            background_fill_color=None,
        )
        self.figure.yaxis.axis_label = "Mvoxel/s"
        self.figure.xgrid.visible = False
        bars = self.figure.quad(
            left="begin", right="end", top="rate", bottom=0, source=self.source, fill_color="colour", line_color="colour"
        )
        tooltips = [("", "@stage"), ("Mvoxel/s", "@rate{0.00}"), ("tasks/s", "@tasks{0.00}")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=tooltips))

    def show(self, board: Board) -> None:
        """Bring it up to date."""
        new = columns(board, self.legend)
        if not np.array_equal(new["end"], self.source.data["end"]):
            self.source.data = new


def columns(board: Board | None, legend: Legend) -> dict[str, Any]:
    """For each stretch of time its pace; ``begin`` and ``end`` in ms of local time since 1970.

    Parameters
    ----------
    board : Board or None
        The run; None: nothing runs, the columns are empty.
    legend : Legend
        Gives stages their colours.
    """
    stretches = [s for s in board.pace.stretches if s.end - s.begin >= SHORTEST] if board else []
    begin, end = (np.array([getattr(s, name) for s in stretches], float) for name in ("begin", "end"))
    return {
        "begin": (begin + _offset(begin)) * 1e3,
        "end": (end + _offset(begin)) * 1e3,
        "rate": np.array([s.voxels for s in stretches], float) / 1e6 / (end - begin),
        "tasks": np.array([s.tasks for s in stretches], float) / (end - begin),
        "stage": [s.stage for s in stretches],
        "colour": [legend.of_stage(s.stage) for s in stretches],
    }


def _offset(begin: np.ndarray) -> float:
    """Seconds that local time is ahead of UTC: the axis knows no time zones."""
    if not len(begin):
        return 0.0
    ahead = datetime.fromtimestamp(begin[0]).astimezone().utcoffset()
    return ahead.total_seconds() if ahead else 0.0
