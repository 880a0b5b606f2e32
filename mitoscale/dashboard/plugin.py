"""Puts mitoscale's page into the dashboard of any scheduler, also one that we have not started, and holds what it shows.

While nobody looks at the page it costs the scheduler one message a second for each run. Which tasks the workers have, and
how the workers are, is read from the scheduler itself when a page is open.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any
from urllib.parse import urljoin

from distributed import SchedulerPlugin

from mitoscale.dashboard.board import Pinned

_log = logging.getLogger(__name__)

PATH = "mitoscale"
"""Where the page is, beside ``status``."""

MOST_BOARDS = 8
"""Boards of runs that are kept; those that were silent for longest go first."""


class Page(SchedulerPlugin):
    """Adds the page when it is registered."""

    name = "mitoscale-page"
    idempotent = True

    def __init__(self) -> None:
        self.boards: dict[str, Pinned] = {}

    async def start(self, scheduler: Any) -> None:
        """Called by Dask on the scheduler; a scheduler without a dashboard is left as it is."""
        try:
            self._add_to(scheduler)
        except Exception as error:
            _log.warning("the dashboard has no page %s: %s", PATH, error)

    def _add_to(self, scheduler: Any) -> None:
        from distributed.dashboard.core import BokehApplication
        from distributed.dashboard.scheduler import template_variables
        from tornado.ioloop import IOLoop

        from mitoscale.dashboard.page import document

        bokeh = next((app for app in scheduler.http_application.applications if hasattr(app, "app_paths")), None)
        if bokeh is None:
            return
        variables = template_variables(scheduler)  # the very ones that all pages draw the navigation from
        prefix = bokeh.prefix
        page = BokehApplication(
            {f"/{PATH}": partial(document, self.boards)}, scheduler, prefix=prefix, template_variables=variables
        )
        page.initialize(IOLoop.current())
        page.start()
        scheduler.http_application.add_application(page)
        if PATH not in variables["pages"]:
            variables["pages"].insert(1, PATH)

    def pin(self, name: str, pinned: Pinned) -> None:
        """Put a board up in place of the one of the same name.

        Parameters
        ----------
        name : str
            Name of the board.
        pinned : Pinned
            The board and who sent it.
        """
        self.boards[name] = pinned
        while len(self.boards) > MOST_BOARDS:
            del self.boards[min(self.boards, key=lambda name: self.boards[name].time)]


def pin(name: str, client: str, content: bytes, dask_scheduler: Any = None) -> None:
    """Runs on the scheduler: show a board.

    Parameters
    ----------
    name : str
        Its name.
    client : str
        Dask's name of the client.
    content : bytes
        The board, packed.
    dask_scheduler : distributed.Scheduler
        Filled in by Dask.
    """
    page = dask_scheduler.plugins.get(Page.name)
    if page is not None:
        page.pin(name, Pinned(client=client, content=content))


def add_page(client: Any, dashboard: str) -> str:
    """Give the scheduler's dashboard the page.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    dashboard : str
        Link to the dashboard; empty where there is none.

    Returns
    -------
    str
        Link to the page; empty where the dashboard cannot have it.
    """
    try:
        client.register_plugin(Page())
        there = client.run_on_scheduler(_has_page)
    except Exception as error:
        _log.warning("the dashboard has no page %s: %s", PATH, error)
        return ""
    return urljoin(dashboard, PATH) if dashboard and there else ""


def _has_page(dask_scheduler: Any) -> bool:
    """Runs on the scheduler: whether its dashboard has the page."""
    applications = dask_scheduler.http_application.applications
    return any(path.endswith(f"/{PATH}") for app in applications for path in getattr(app, "app_paths", ()))
