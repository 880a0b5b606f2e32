"""Dask's own settings: those a run needs, and those of ``cluster.yaml``, which win."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mitoscale.cluster.groups import Group
from mitoscale.cluster.settings import ClusterSettings

WORKER_DEFAULTS: Mapping[str, Any] = {
    # torch and zarr memory cannot be spilled: pause instead, and let the nanny restart what grows beyond.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.85,
    "distributed.worker.multiprocessing-method": "spawn",  # a forked torch or tensorstore hangs
    "distributed.worker.daemon": False,  # a training's data loaders are processes too
    # By itself Dask looks a hundred times a second at what a task does, and fifty times at how late its own loop is, which takes
    # processor time from each busy worker's task. Tasks take seconds: a tenth of that is enough.
    "distributed.worker.profile.interval": "100ms",
    "distributed.admin.tick.interval": "500ms",
}
"""What every worker needs."""


def worker_configuration(settings: ClusterSettings) -> dict[str, Any]:
    """Dask settings of workers that are started elsewhere, dotted names to values."""
    return {**WORKER_DEFAULTS, **dotted(settings.dask)}


def worker_environment(settings: ClusterSettings, group: Group) -> dict[str, str]:
    """Environment variables that make a worker started elsewhere like all others of its group.

    Parameters
    ----------
    settings : ClusterSettings
        The cluster.
    group : Group
        The worker's group.
    """
    return {
        **thread_environment(settings.threads),
        **memory_environment(),
        **inherited(worker_configuration(settings)),
        **group.environment,
    }


def inherited(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Dask settings as the environment variable from which a new Dask process takes them."""
    from dask.config import serialize

    nested: dict[str, Any] = {}
    for name, value in configuration.items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return {"DASK_INTERNAL_INHERIT_CONFIG": serialize(nested)}


def configuration(settings: ClusterSettings) -> dict[str, Any]:
    """Dask settings of client, scheduler and local workers, dotted names to values."""
    environment = thread_environment(settings.threads) | memory_environment()
    ours = {
        **WORKER_DEFAULTS,
        # Tasks that shared a lost worker run again alone (executor.py), so few deaths are enough to single one out.
        "distributed.scheduler.allowed-failures": 2,
        "distributed.scheduler.worker-ttl": settings.worker_ttl,
        # A worker that is not back this long after its death is never started again; Dask's own 15 s are too short
        # where the machine is busy, or where a block kills one worker after the other.
        "distributed.deploy.lost-worker-timeout": "1 hour",
        **{f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in environment.items()},
    }
    return {**ours, **dotted(settings.dask)}


_applied: list[tuple[Mapping[str, Any], Any]] = []
"""Settings of the clusters that live now, and what puts back what was there before, in the order in which they started."""
_changing = threading.Lock()


@contextmanager
def applied(values: Mapping[str, Any]) -> Iterator[None]:
    """Dask's settings while a cluster lives, which reads some of them for as long as that.

    Clusters of one process may end in another order than they started in. ``dask.config.set`` alone would then put back what was
    there before the one that ended and take the settings from those that go on: a worker that died would be given up after 15 s.

    Parameters
    ----------
    values : mapping
        Dotted names to values; where several clusters live, those of the one that started last count.
    """
    import dask

    with _changing:
        _applied.append((values, dask.config.set(values)))
    try:
        yield
    finally:
        with _changing:
            place = next(i for i, (one, _) in enumerate(_applied) if one is values)
            later = _applied[place + 1 :]
            for _, change in reversed(_applied[place:]):
                change.__exit__(None, None, None)
            _applied[place:] = [(one, dask.config.set(one)) for one, _ in later]


def dotted(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names as dotted ones, so that setting one leaves its neighbours alone.

    Parameters
    ----------
    nested : mapping
        Dask configuration; values may be mappings.
    prefix : str
        Put before each name.

    Examples
    --------
    >>> dotted({"distributed": {"comm": {"retry": {"count": 3}}}, "array.slicing": 1})
    {'distributed.comm.retry.count': 3, 'array.slicing': 1}
    """
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        path = f"{prefix}{name}"
        flat |= dotted(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
    return flat


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables that give a task its threads.

    ``MITOSCALE_THREADS`` is read by the networks and by the storage; the others by OpenMP, MKL and OpenBLAS when they
    are loaded. Without them a nanny's ``OMP_NUM_THREADS=1`` would decide.

    Examples
    --------
    >>> thread_environment(2)["OMP_NUM_THREADS"]
    '2'
    """
    names = ("MITOSCALE_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def memory_environment() -> dict[str, str]:
    """Environment variables that let a worker keep the memory it frees.

    Networks free and take the same large tensors for every slice. Given back to the system each time, as by default and
    even more with Dask's own setting, their pages are cleared again and again: a third of a detector's CPU time.

    Examples
    --------
    >>> sorted(memory_environment())
    ['MALLOC_MMAP_THRESHOLD_', 'MALLOC_TOP_PAD_', 'MALLOC_TRIM_THRESHOLD_']
    """
    return {
        "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
        "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30),
        "MALLOC_TOP_PAD_": str(64 * 2**20),
    }
