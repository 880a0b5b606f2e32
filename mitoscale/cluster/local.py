"""Kinds ``local`` and ``cuda``: the groups' workers are processes of this machine, each with a nanny that restarts it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from mitoscale.cluster.configuration import thread_environment
from mitoscale.cluster.connection import Connection
from mitoscale.cluster.gpus import gpu_plugins, visible_gpus
from mitoscale.cluster.groups import GroupName
from mitoscale.cluster.scheduler import dashboard_of, protocol_of, scheduler_with, security_of
from mitoscale.cluster.settings import ClusterSettings
from mitoscale.core.errors import InputError

WORKER_BYTES = 3 * 2**30
"""Memory a worker needs for the default blocks; the default number of workers leaves each this much."""


@contextmanager
def local_cluster(settings: ClusterSettings) -> Iterator[Connection]:
    """Start scheduler and workers on this machine.

    Yields
    ------
    Connection

    Raises
    ------
    InputError
        If there are fewer GPUs than the groups want.
    """
    from distributed import Client

    with scheduler_with(_workers(settings), settings) as cluster, Client(cluster, set_as_default=False) as client:
        yield Connection(client=client, dashboard=dashboard_of(cluster, settings))


def default_workers(threads: int = 1) -> int:
    """One worker for each ``threads`` CPUs this process may use (affinity, cgroup), fewer where memory is short."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    memory = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return int(max(1, min(CPU_COUNT // threads, memory // WORKER_BYTES)))


def _workers(settings: ClusterSettings) -> dict[str, Any]:
    """Class and options of each worker, as ``SpecCluster`` wants them."""
    from distributed import Nanny

    gpus = _gpus(settings)
    counts = {name: group.workers or _default_count(name, settings, len(gpus)) for name, group in settings.all_groups.items()}
    memory = _memory_share(settings, counts)
    shared: dict[str, Any] = {
        "host": settings.host,
        "protocol": protocol_of(settings),
        "security": security_of(settings),
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
    }
    workers = {}
    for name, group in settings.all_groups.items():
        for number in range(counts[name]):
            environment = thread_environment(settings.threads) | dict(group.environment)
            plugins = []
            if group.gpus:
                environment["CUDA_VISIBLE_DEVICES"] = gpu = gpus.pop(0)
                plugins = gpu_plugins(gpu)
            elif settings.kind == "cuda":
                environment["CUDA_VISIBLE_DEVICES"] = ""  # what needs no GPU must not take its memory
            options = {
                "nthreads": group.tasks,
                "memory_limit": group.memory or memory,
                "resources": {name: group.tasks},
                "env": environment,
                "plugins": plugins,
            }
            workers[f"{name}-{number}"] = {"cls": Nanny, "options": {**shared, **options}}
    return workers


def _default_count(name: GroupName, settings: ClusterSettings, gpus: int) -> int:
    """Workers of a group that does not say: all that there is room for in the first with GPUs and in ``io``, else one."""
    groups = settings.all_groups
    with_gpus = [other for other, group in groups.items() if group.gpus]
    if name in with_gpus:
        others = sum(groups[other].workers or 1 for other in with_gpus if other != name)
        return gpus - others if name == with_gpus[0] else 1
    return default_workers(settings.threads) if name == "io" or len(groups) == 1 else 1


def _memory_share(settings: ClusterSettings, counts: Mapping[GroupName, int]) -> int:
    """What is left of the machine for each worker whose group names no memory."""
    from distributed.system import MEMORY_LIMIT

    from mitoscale.cluster.units import bytes_of

    groups = settings.all_groups
    given = sum(counts[name] * bytes_of(group.memory) for name, group in groups.items() if group.memory)
    sharing = sum(counts[name] for name, group in groups.items() if not group.memory)
    return int(max(0.9 * MEMORY_LIMIT - given, 0.1 * MEMORY_LIMIT) / max(sharing, 1))


def _gpus(settings: ClusterSettings) -> list[str]:
    """Numbers of this machine's GPUs that the groups may use.

    Raises
    ------
    InputError
        If there are too few.
    """
    if settings.kind != "cuda":
        return []
    found = visible_gpus()
    wanted = sum(group.workers or 1 for group in settings.all_groups.values() if group.gpus)
    if wanted > len(found):
        raise InputError(f"kind cuda: {wanted} workers want a GPU each, this machine has {len(found)}; give fewer workers")
    return found
