"""Is a cluster fit for a run? Starts it, has every worker look around, and stops it.

A run needs workers that are alike: the same libraries and weights, and the same files under the same paths.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import mitoscale
from mitoscale.cluster.clusters import start
from mitoscale.cluster.settings import ClusterSettings
from mitoscale.cluster.worker_info import Answer, ask_workers, wait_for_workers
from mitoscale.core.errors import MitoscaleError, StoppedError
from mitoscale.core.provenance import library_versions
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.factories import weights_digest
from mitoscale.storage.addresses import absolute, is_remote, join, parent
from mitoscale.storage.layout import remove_if_empty
from mitoscale.storage.run_places import check_place
from mitoscale.storage.stored_files import is_file, read, remove_tree, write

_CLIENT = "client"


class Found(BaseModel):
    """What one process found."""

    model_config = ConfigDict(frozen=True)

    host: str
    """Name of its machine."""
    process: int
    """Its number there."""
    device: str
    """Where networks would run."""
    versions: dict[str, str]
    """Python, mitoscale and the libraries that numbers depend on."""
    weights: dict[str, str]
    """SHA-256 of each set of weights, or what is wrong with it."""
    store: str = ""
    """What is wrong with the shared folder; empty: nothing."""


class Probe(BaseModel):
    """Looks around in a process; picklable.

    Examples
    --------
    >>> Probe(folder="", weights=()).look().versions["mitoscale"] == mitoscale.__version__
    True
    """

    model_config = ConfigDict(frozen=True)

    folder: str
    """Folder all processes share, which :meth:`prepare` made; empty: none is tried."""
    weights: tuple[str, ...]
    """Names or paths of weights to read."""

    def prepare(self) -> None:
        """Make the shared folder, with a file for the others to read."""
        write(join(self.folder, _CLIENT), _CLIENT.encode())

    def look(self) -> Found:
        """What there is here; leaves a file in the shared folder."""
        host, process = socket.gethostname(), os.getpid()
        return Found(
            host=host,
            process=process,
            device=_device(),
            versions={"python": platform.python_version(), "mitoscale": mitoscale.__version__, **library_versions()},
            weights={name: _digest(name) for name in self.weights},
            store=self._store(f"{host}-{process}") if self.folder else "",
        )

    def problems(self, own: Found, there: Found, *, gpu: bool) -> list[str]:
        """What is wrong with a worker, compared with this process.

        Parameters
        ----------
        own, there : Found
            Of this process and of the worker.
        gpu : bool
            Whether the worker should have a GPU.
        """
        wrong = []
        for name, version in own.versions.items():
            if there.versions.get(name) != version:
                wrong.append(f"{name} is {there.versions.get(name)} there, {version} here: install the same everywhere")
        for name, digest in own.weights.items():
            if there.weights.get(name) != digest:
                wrong.append(f"weights {name}: {there.weights.get(name)} there, {digest} here")
        if there.store:
            wrong.append(there.store)
        elif self.folder and not is_file(join(self.folder, f"{there.host}-{there.process}")):
            wrong.append(f"what it writes to {parent(self.folder)} is not seen here: the folder is not shared")
        if gpu and there.device.startswith("CPU"):
            wrong.append("it should have a GPU, and networks would run on its CPU: check the driver and its build of torch")
        return wrong

    def _store(self, name: str) -> str:
        """Write a file and read the client's; what went wrong."""
        folder = parent(self.folder)
        try:
            content = read(join(self.folder, _CLIENT))
            if content is None:
                return f"what is written here to {folder} is not seen there: the folder is not shared"
            if content != _CLIENT.encode():
                return f"{folder} has other content there: the folder is not shared"
            write(join(self.folder, name), name.encode())
        except OSError as error:
            return f"{folder} cannot be written there ({error.strerror})"
        except StoppedError as error:  # of a store, such as missing credentials
            return f"there {error}"
        return ""


def _device() -> str:
    from mitoscale.nets.device import describe_device  # torch, which the client's help must not load

    return describe_device()


def _digest(name: str) -> str:
    try:
        return weights_digest(name)
    except (MitoscaleError, OSError) as error:
        return str(error)


class CheckedWorker(BaseModel):
    """A worker, and what is wrong with it."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Name by which the cluster knows the worker."""
    address: str
    """Address that the scheduler reaches it at."""
    group: str
    """Its group; empty where it was started without resources."""
    tasks: int
    """Tasks it has in hand at once."""
    memory: int
    """Memory limit in bytes; 0: none."""
    found: Found | None
    """Devices and libraries that the worker's process found."""
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
        If not all workers come, with what is known of why.
    """
    names = weights or (DetectSettings().detector, SegmentSettings().sam)
    for name in names:
        weights_digest(name)  # what is wrong with them here is told before anything is started
    if store is not None:
        check_place(store)
    made = store is not None and not is_remote(store) and not Path(store).exists()
    folder = join(absolute(store), f".mitoscale-check-{secrets.token_hex(4)}") if store is not None else ""
    probe = Probe(folder=folder, weights=names)
    gpus = {name for name, group in settings.all_groups.items() if group.gpus}
    try:
        if folder:
            probe.prepare()
        with start(settings.with_someone_everywhere()) as cluster:
            wait_for_workers(cluster.client, cluster.expected, wait, cluster.placement.more_to_come)
            own = probe.look()
            workers = [_checked(answer, probe, own, gpus) for answer in ask_workers(cluster.client, probe.look)]
            return ClusterCheck(dashboard=cluster.dashboard_link, workers=tuple(workers))
    finally:
        if folder:
            remove_tree(folder)
            if made:
                remove_if_empty(parent(folder))


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
