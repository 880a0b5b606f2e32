"""A cluster that runs: started as ``cluster.yaml`` says, its workers all alike, and stopped at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from mitoscale.cluster.address import running_scheduler
from mitoscale.cluster.cluster_file import load_cluster
from mitoscale.cluster.configuration import applied, configuration
from mitoscale.cluster.connection import Connection
from mitoscale.cluster.executor import DaskExecutor
from mitoscale.cluster.groups import GroupName
from mitoscale.cluster.job import Job, Tell, run_job
from mitoscale.cluster.kubernetes import kubernetes_cluster
from mitoscale.cluster.local import default_workers, local_cluster
from mitoscale.cluster.placement import Placement
from mitoscale.cluster.settings import ClusterSettings
from mitoscale.cluster.signals import interruptible
from mitoscale.cluster.slurm import slurm_cluster

__all__ = ["Cluster", "ClusterSettings", "default_workers", "load_cluster", "start"]

_KINDS: dict[str, Callable[[ClusterSettings], AbstractContextManager[Connection]]] = {
    "local": local_cluster,
    "cuda": local_cluster,
    "slurm": slurm_cluster,
    "kubernetes": kubernetes_cluster,
    "address": running_scheduler,
}
"""For each kind what starts it, and stops it at the end."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that is running."""

    executor: DaskExecutor
    """Runs a stage's tasks on it."""
    placement: Placement
    """Where tasks go."""
    dashboard_link: str
    """Where the dashboard is."""
    client: Any
    """The ``distributed.Client``."""
    expected: int = 1
    """Workers there should be from the start."""

    @property
    def workers(self) -> int:
        """Worker processes there are now."""
        return len(self.client.nthreads())

    def preload(self, load: Callable[[], object], group: GroupName = "gpu") -> None:
        """Have each worker that takes a group's tasks load its models now, and whenever it is started again.

        Parameters
        ----------
        load : callable
            Picklable; loads into a cache of the process.
        group : str
            Whose tasks need the models.
        """
        from mitoscale.cluster.plugin import ModelPreload

        self.client.register_plugin(ModelPreload(load, self.placement.of(group).resource))

    def run_job(self, job: Job, *, name: str, group: GroupName = "train", heard: Tell | None = None) -> Any:
        """Run one long job, such as a training, on a worker of a group, and wait for it.

        See :func:`mitoscale.cluster.job.run_job`.

        Parameters
        ----------
        job : Job
            What to run; it must be picklable.
        name : str
            What the dashboard calls it.
        group : str
            Group of workers that may run it.
        heard : callable, optional
            Is given each message the job sends while it runs.
        """
        return run_job(self.client, job, name=name, resource=self.placement.of(group).resource, heard=heard)


@contextmanager
def start(settings: ClusterSettings) -> Iterator[Cluster]:
    """Start the cluster, and stop it at the end, also where that is Ctrl-C or SIGTERM.

    Yields
    ------
    Cluster

    Raises
    ------
    InputError
        If it cannot be started as the settings say.
    """
    from mitoscale.cluster.plugin import WorkerSetup

    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="mitoscale-", ignore_cleanup_errors=True) as scratch,
        applied({"temporary-directory": scratch, **configuration(settings)}),  # else Dask leaves a folder of its own
        _KINDS[settings.kind](settings) as connection,
    ):
        client = connection.client
        client.register_plugin(WorkerSetup(threads=settings.threads))
        groups = settings.all_groups if settings.kind != "address" else {}
        placement = Placement(client, groups, connection.more_to_come)
        with DaskExecutor(client, place=placement.of, more_to_come=placement.more_to_come) as executor:
            yield Cluster(
                executor=executor,
                placement=placement,
                dashboard_link=connection.dashboard,
                client=client,
                expected=settings.expected,
            )
