"""The page about runs in the dashboard: a Bokeh document that looks at the boards on its scheduler once a second."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from bokeh.layouts import column, row
from bokeh.models.widgets import Div, Select
from distributed.dashboard.components import add_periodic_callback
from distributed.dashboard.components.scheduler import BOKEH_THEME, env

from mitoscale.core.settings import STAGES
from mitoscale.dashboard import text
from mitoscale.dashboard.block_map import ALL_LAYERS, EVERYTHING, BlockMap, layers
from mitoscale.dashboard.board import Board, Pinned
from mitoscale.dashboard.colours import Legend
from mitoscale.dashboard.pace_plot import PaceGraph

_log = logging.getLogger(__name__)

MILLISECONDS = 1000
"""Milliseconds between two updates of the page."""


def document(boards: Mapping[str, Pinned], scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    """Fill a new document; called by Bokeh each time the page is opened.

    Parameters
    ----------
    boards : mapping of str to Pinned
        The boards that the scheduler holds, which change.
    scheduler : distributed.Scheduler
        It serves the page.
    extra : dict
        What the dashboard's template draws the navigation from.
    doc : bokeh.document.Document
        Empty.
    """
    view = View(boards, scheduler)
    view.update()
    doc.title = "mitoscale"
    doc.add_root(view.root)
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)
    doc.theme = BOKEH_THEME
    add_periodic_callback(doc, view, MILLISECONDS)


class View:
    """One opened page.

    Parameters
    ----------
    boards : mapping of str to Pinned
        The boards that the scheduler holds, which change.
    scheduler : distributed.Scheduler
        It serves the page.
    """

    def __init__(self, boards: Mapping[str, Pinned], scheduler: Any) -> None:
        self.boards, self.scheduler = boards, scheduler
        self.run, self.stage, self.layer = Select(width=420, visible=False), Select(width=230), Select(width=160)
        self.heading, self.legend_line, self.stages, self.quarantined, self.workers, self.faults = (_words() for _ in range(6))
        legend = Legend(STAGES[:-1])
        self.map, self.pace = BlockMap(legend), PaceGraph(legend)
        left = column(
            row(self.stage, self.layer),
            self.map.figure,
            self.legend_line,
            sizing_mode="stretch_both",
            min_width=420,
            min_height=480,
        )
        right = column(
            self.stages, self.pace.figure, self.quarantined, self.workers, self.faults, sizing_mode="stretch_height", width=560
        )
        # All there is is there from the start: a browser refuses figures that are put into an open page.
        both = row(left, right, sizing_mode="stretch_both", styles={"flex-wrap": "wrap"})  # a narrow window has one below the other
        self.root = column(self.heading, self.run, both, sizing_mode="stretch_both")
        self._offered: tuple[Any, ...] | None = None
        self._busy = False
        _offer(self.stage, EVERYTHING, [EVERYTHING, *STAGES[:-1]])
        _offer(self.layer, ALL_LAYERS, [ALL_LAYERS])
        for select in (self.run, self.stage, self.layer):
            select.on_change("value", lambda attribute, old, new: self.update())

    def update(self) -> None:
        """Show what is new; a fault is shown in the page and ends there."""
        if self._busy:  # what is chosen from changes, and with it the choice
            return
        self._busy = True
        try:
            self._update()
        except Exception as error:
            _log.exception("the page about runs has a fault")
            _say(self.heading, text.broken(error))
        finally:
            self._busy = False

    def _update(self) -> None:
        boards = self.boards
        if not boards:
            _say(self.heading, text.nothing())
            return
        if self.run.options != (names := sorted(boards)):
            self.run.visible = len(names) > 1
            _offer(self.run, max(boards, key=lambda name: boards[name].time), names)
        pinned = boards[self.run.value]
        board = Board.unpacked(pinned.content)
        if self._offered != (offered := (board.run, board.cells)):
            self._offered = offered
            _offer(self.layer, ALL_LAYERS, [ALL_LAYERS, *layers(board.cells)])
        running, now = tasks_of(self.scheduler, pinned.client), time.time()
        workers = workers_of(self.scheduler)
        _say(self.heading, text.heading(board, workers, pinned.time, now))
        _say(self.legend_line, text.legend_line(self.map.legend, board))
        _say(self.stages, text.stages(board, running, self.map.legend))
        _say(self.quarantined, text.quarantined(board))
        _say(self.workers, text.workers_table(workers))
        _say(self.faults, text.faults(board))
        self.map.show(board, self.stage.value, self.layer.value, running)
        self.pace.show(board)


def tasks_of(scheduler: Any, client: str) -> dict[str, list[str]]:
    """The tasks of a client that workers have now, for each stage.

    Parameters
    ----------
    scheduler : distributed.Scheduler
        It serves the page.
    client : str
        Id of the client.
    """
    found = defaultdict(list)
    state = scheduler.clients.get(client)
    for task in state.wants_what if state is not None else ():
        if task.state == "processing":
            stage, _, rest = str(task.key).partition("-")
            found[stage].append(rest.partition("-")[0])
    return dict(found)


def workers_of(scheduler: Any) -> list[dict[str, Any]]:
    """How each worker is, by its last word."""
    return [
        {
            "name": str(worker.name),
            "group": ", ".join(worker.resources) or "any",
            "threads": worker.nthreads,
            "memory": worker.metrics.get("memory", 0),
            "limit": worker.memory_limit or 0,
            "cpu": worker.metrics.get("cpu", 0.0),
            "tasks": ", ".join(str(t.key).rpartition("-")[0] or str(t.key) for t in worker.executing) or "-",
        }
        for worker in scheduler.workers.values()
    ]


def _offer(select: Select, chosen: str, choices: list[Any]) -> None:
    select.options, select.value = choices, chosen


def _words() -> Div:
    return Div(text="", sizing_mode="stretch_width", stylesheets=[text.STYLE])


def _say(div: Div, words: str) -> None:
    if div.text != words:
        div.text = words
