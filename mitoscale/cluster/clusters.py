"""Clusters: what ``cluster.yaml`` says, checked, and the local Dask cluster that it starts."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mitoscale.cluster.executor import DaskExecutor
from mitoscale.core.errors import InputError

WORKER_BYTES = 3 * 2**30
"""Memory a worker needs for the default blocks; the default number of workers leaves each this much."""

_KINDS = ("local",)


class ClusterSettings(BaseModel):
    """The contents of ``cluster.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = "local"
    """``local``: workers on this machine."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes; by default one a CPU, fewer where memory is short."""
    threads: int = Field(default=1, ge=1)
    """Threads a task computes with; the same number gives the same labels, bit for bit."""
    memory: str | None = None
    """Memory limit of a worker, such as ``4 GiB``; by default its share of the machine."""
    dashboard: str = "127.0.0.1:8787"
    """Address of the dashboard; where it is taken, a free port is used instead."""
    worker_ttl: str = "30 minutes"
    """A worker that is silent for longer counts as dead."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that is running."""

    executor: DaskExecutor
    """Runs tasks on it."""
    dashboard_link: str
    """Where the dashboard is."""
    workers: int
    """Worker processes."""
    client: Any
    """The ``distributed.Client``."""


def load_cluster(path: str | None) -> ClusterSettings:
    """Read ``cluster.yaml``; without one, a local cluster sized to the machine.

    Raises
    ------
    InputError
        If the file is missing or says something that is not understood.
    """
    if path is None:
        return ClusterSettings()
    try:
        content = yaml.safe_load(Path(path).read_text()) or {}
    except OSError as error:
        raise InputError(f"cluster file {path} cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise InputError(f"cluster file {path} is no YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise InputError(f"cluster file {path} must hold names and values, such as kind: local")
    kind = content.get("kind", "local")
    if kind not in _KINDS:
        raise InputError(f"cluster file {path}: kind {kind!r} is not supported; this version knows {', '.join(_KINDS)}")
    try:
        return ClusterSettings.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        names = ", ".join(ClusterSettings.model_fields)
        raise InputError(f"cluster file {path}: {where}: {problem['msg']}; known names are {names}") from error


def default_workers() -> int:
    """One worker a CPU this process may use, fewer where memory is short."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, psutil.virtual_memory().available // WORKER_BYTES))


@contextmanager
def start(settings: ClusterSettings) -> Iterator[Cluster]:
    """Start the cluster, and stop it at the end.

    Yields
    ------
    Cluster
    """
    import dask
    from distributed import Client, LocalCluster

    from mitoscale.cluster.plugin import WorkerSetup

    for noisy in ("distributed.nanny", "distributed.worker", "distributed.scheduler", "distributed.core", "distributed.shuffle"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    workers = settings.workers or default_workers()
    environment = {"MITOSCALE_THREADS": str(settings.threads), "OMP_NUM_THREADS": str(settings.threads)}
    configuration = {
        # torch and zarr memory cannot be spilled: pause instead, and let the nanny restart what grows beyond.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": 0.85,
        "distributed.scheduler.allowed-failures": 10,
        "distributed.scheduler.worker-ttl": settings.worker_ttl,
        "distributed.worker.daemon": False,
        "distributed.nanny.pre-spawn-environ": {**environment, "MKL_NUM_THREADS": str(settings.threads)},
    }
    with tempfile.TemporaryDirectory(prefix="mitoscale-") as scratch, dask.config.set(configuration):
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=_free_dashboard(settings.dashboard),
                memory_limit=settings.memory or "auto",
                local_directory=scratch,
                silence_logs=logging.ERROR,
            ) as local,
            Client(local) as client,
        ):
            client.register_plugin(WorkerSetup(threads=settings.threads))
            executor = DaskExecutor(client, slots=workers)
            yield Cluster(executor=executor, dashboard_link=local.dashboard_link, workers=workers, client=client)


def _free_dashboard(address: str) -> str:
    """The wanted dashboard address, or a free port on the same host."""
    import socket

    host, _, port = address.rpartition(":")
    try:
        with socket.socket() as probe:
            probe.bind((host, int(port)))
    except (OSError, ValueError):
        return f"{host or '127.0.0.1'}:0"
    return address
