"""A run in the dashboard of its cluster, for as long as it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mitoscale.cluster.clusters import Cluster
from mitoscale.dashboard.watch import Watch
from mitoscale.pipeline import Run


@contextmanager
def watching(run: Run, stages: Sequence[str], cluster: Cluster, told: Callable[[str], object]) -> Iterator[Watch]:
    """Meanwhile show a run on a page of the dashboard.

    Parameters
    ----------
    run : Run
        The run.
    stages : sequence of str
        Those that run.
    cluster : Cluster
        Where they run; its scheduler serves the page.
    told : callable
        Gets the page's address, where there is one.

    Yields
    ------
    Watch
        The observer that has to hear how the run goes on.
    """
    from mitoscale.dashboard.plugin import add_page
    from mitoscale.dashboard.publishing import publishing

    watch = Watch(run, stages)
    page = add_page(cluster.client, cluster.dashboard_link)
    if page:
        told(page)
    with publishing(cluster.client, run.plan.run, watch.news):
        try:
            yield watch
        except BaseException:
            watch.end("stopped")
            raise
        watch.end("finished")
