"""Clusters: what ``cluster.yaml`` says, checked, and the local Dask cluster that it starts."""

from __future__ import annotations

import logging
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mitoscale.cluster.executor import DaskExecutor
from mitoscale.cluster.interruption import interruptible
from mitoscale.core.errors import InputError

WORKER_BYTES = 3 * 2**30
"""Memory a worker needs for the default blocks; the default number of workers leaves each this much."""

SMALLEST_BYTES = 2**29
"""A worker with less memory could not even load its libraries."""

_KINDS = ("local",)


class ClusterSettings(BaseModel):
    """The contents of ``cluster.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    kind: str = "local"
    """``local``: workers on this machine."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes; by default one for each ``threads`` CPUs, fewer where memory is short."""
    threads: int = Field(default=1, ge=1)
    """Threads a task computes with; the same number gives the same labels, bit for bit."""
    memory: str | None = None
    """Memory limit of a worker, such as ``4 GiB``; by default its share of the machine."""
    dashboard: str = "127.0.0.1:8787"
    """Address of the dashboard; where it is taken, a free port is used instead."""
    worker_ttl: str = "30 minutes"
    """A worker that is silent for longer counts as dead."""

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, value: str | None) -> str | None:
        from dask.utils import parse_bytes

        if value is None:
            return None
        try:
            size = parse_bytes(value)
        except ValueError:
            raise ValueError(f"{value!r} is no amount of memory such as 4 GiB") from None
        if size < SMALLEST_BYTES:
            raise ValueError(f"{value!r} is too little for a worker; give at least {SMALLEST_BYTES >> 20} MiB")
        return value

    @field_validator("worker_ttl")
    @classmethod
    def _check_ttl(cls, value: str) -> str:
        from dask.utils import parse_timedelta

        try:
            seconds = parse_timedelta(value)
        except (ValueError, KeyError):
            seconds = 0.0
        if not seconds >= 1:
            raise ValueError(f"{value!r} is no time of at least a second such as 30 minutes")
        return value

    @field_validator("dashboard")
    @classmethod
    def _check_dashboard(cls, value: str) -> str:
        match = re.fullmatch(r"[^\s:/]+:(\d{1,5})", value)
        if match is None or int(match[1]) > 65535:
            raise ValueError(f"{value!r} is not HOST:PORT such as 127.0.0.1:8787")
        return value


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
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cluster file {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}: {getattr(error, 'problem', '')})" if mark else ""
        raise InputError(f"cluster file {path} is no YAML{where}") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InputError(f"cluster file {path} must hold names and values, such as kind: local")
    kind = content.get("kind", "local")
    if kind not in _KINDS:
        raise InputError(f"cluster file {path}: kind {kind!r} is not supported; this version knows {', '.join(_KINDS)}")
    try:
        return ClusterSettings.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"]))
        known = f"; known names are {', '.join(ClusterSettings.model_fields)}" if name not in ClusterSettings.model_fields else ""
        message = problem["msg"].removeprefix("Value error, ")
        raise InputError(f"cluster file {path}: {name}: {message}{known}") from error


def default_workers(threads: int = 1) -> int:
    """One worker for each ``threads`` CPUs this process may use (affinity, cgroup), fewer where memory is short."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    memory = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return int(max(1, min(CPU_COUNT // threads, memory // WORKER_BYTES)))


@contextmanager
def start(settings: ClusterSettings) -> Iterator[Cluster]:
    """Start the cluster, and stop it at the end, also where that is Ctrl-C or SIGTERM.

    Yields
    ------
    Cluster
    """
    import dask
    from distributed import Client, LocalCluster
    from distributed.system import MEMORY_LIMIT

    from mitoscale.cluster.plugin import WorkerSetup, memory_environment, thread_environment

    workers = settings.workers or default_workers(settings.threads)
    environment = thread_environment(settings.threads) | memory_environment()
    configuration = {
        # torch and zarr memory cannot be spilled: pause instead, and let the nanny restart what grows beyond.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": 0.85,
        "distributed.worker.multiprocessing-method": "spawn",  # a forked torch or tensorstore hangs
        "distributed.worker.daemon": False,
        # Tasks that shared a lost worker run again alone (executor.py), so few deaths are enough to single one out.
        "distributed.scheduler.allowed-failures": 2,
        "distributed.scheduler.worker-ttl": settings.worker_ttl,
        # A worker that is not back this long after its death is never started again; Dask's own 15 s are too short
        # where the machine is busy, or where a block kills one worker after the other.
        "distributed.deploy.lost-worker-timeout": "1 hour",
        **{f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in environment.items()},
    }
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="mitoscale-", ignore_cleanup_errors=True) as scratch,
        dask.config.set({**configuration, "temporary-directory": scratch}),  # else Dask leaves a folder of its own
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=_free_dashboard(settings.dashboard),
            memory_limit=settings.memory or int(0.9 * MEMORY_LIMIT / workers),
            local_directory=scratch,
            silence_logs=logging.CRITICAL,  # a failure goes to the ledger with its traceback, not between progress bars
        ) as local,
        Client(local) as client,
    ):
        client.register_plugin(WorkerSetup(threads=settings.threads))
        executor = DaskExecutor(client, slots=workers)
        yield Cluster(executor=executor, dashboard_link=local.dashboard_link, workers=workers, client=client)


def _free_dashboard(address: str) -> str:
    """The wanted dashboard address, or a free port on the same host."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the dashboard's server does
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return address
