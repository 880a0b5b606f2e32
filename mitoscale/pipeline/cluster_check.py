"""Is a cluster fit for a run? Starts it, has every worker look around, and stops it."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mitoscale.cluster.clusters import start
from mitoscale.cluster.settings import ClusterSettings
from mitoscale.cluster.worker_info import Answer, ask_workers, wait_for_workers
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.factories import weights_digest
from mitoscale.pipeline.probe import Found, Probe
from mitoscale.storage.layout import check_writable, remove_if_empty, remove_tree


class CheckedWorker(BaseModel):
    """A worker, and what is wrong with it."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Its name."""
    address: str
    """Its address."""
    group: str
    """Its group; empty where it was started without resources."""
    tasks: int
    """Tasks it has in hand at once."""
    memory: int
    """Memory limit in bytes; 0: none."""
    found: Found | None
    """What it has."""
    problems: tuple[str, ...]
    """What is wrong, one line each."""


class ClusterCheck(BaseModel):
    """What a check found."""

    model_config = ConfigDict(frozen=True)

    dashboard: str
    """Where the dashboard was."""
    workers: tuple[CheckedWorker, ...]
    """All workers."""

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, with the worker's name."""
        return [f"{worker.name}: {problem}" for worker in self.workers for problem in worker.problems]


def check_cluster(settings: ClusterSettings, store: str | None, weights: tuple[str, ...], wait: float) -> ClusterCheck:
    """Start a cluster, have every worker look around, and stop it.

    Parameters
    ----------
    settings : ClusterSettings
        From ``cluster.yaml``.
    store : str, optional
        Folder that all workers must read and write.
    weights : tuple of str
        Names or paths of weights all must read; empty: the embedded ones that runs use by default.
    wait : float
        Seconds to wait for the workers.

    Raises
    ------
    InputError
        If the cluster cannot be started, or the store cannot be written here.
    StoppedError
        If not all workers come.
    """
    names = weights or (DetectSettings().detector, SegmentSettings().sam)
    for name in names:
        weights_digest(name)  # what is wrong with them here is told before anything is started
    if store is not None:
        check_writable(store)
    made = store is not None and not Path(store).exists()
    folder = str(Path(store, f".mitoscale-check-{secrets.token_hex(4)}").absolute()) if store is not None else ""
    probe = Probe(folder=folder, weights=names)
    gpus = {name for name, group in settings.all_groups.items() if group.gpus}
    try:
        if folder:
            probe.prepare()
        with start(settings.with_someone_everywhere()) as cluster:
            wait_for_workers(cluster.client, cluster.expected, wait)
            own = probe.look()
            workers = [_checked(answer, probe, own, gpus) for answer in ask_workers(cluster.client, probe.look)]
            return ClusterCheck(dashboard=cluster.dashboard_link, workers=tuple(workers))
    finally:
        if folder:
            remove_tree(folder)
            if made:
                remove_if_empty(str(Path(folder).parent))


def _checked(answer: Answer, probe: Probe, own: Found, gpus: Collection[str]) -> CheckedWorker:
    found: Found | None = answer.value
    problems = [answer.error] if found is None else probe.problems(own, found, gpu=answer.group in gpus)
    return CheckedWorker(
        name=answer.name,
        address=answer.address,
        group=answer.group,
        tasks=answer.tasks,
        memory=answer.memory,
        found=found,
        problems=tuple(problems),
    )
