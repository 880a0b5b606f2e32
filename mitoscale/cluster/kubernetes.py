"""Kind ``kubernetes``: scheduler and workers are pods that the Dask operator makes from what we describe.

The first group is the DaskCluster's own workers, each other group a DaskWorkerGroup. Manifests are checked against the operator's
schema by a test; they have not been tried on a cluster yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from mitoscale.cluster.autoscaling import Autoscaler, State
from mitoscale.cluster.configuration import configuration, inherited, worker_environment
from mitoscale.cluster.connection import Connection
from mitoscale.cluster.groups import Group
from mitoscale.cluster.settings import ClusterSettings, Kubernetes
from mitoscale.cluster.units import bytes_of
from mitoscale.core.errors import InputError

_API = "kubernetes.dask.org/v1"
_SCHEDULER_MEMORY = "4 GiB"


@contextmanager
def kubernetes_cluster(settings: ClusterSettings) -> Iterator[Connection]:
    """Have the operator start scheduler and workers.

    Yields
    ------
    Connection

    Raises
    ------
    InputError
        If dask-kubernetes is missing, or Kubernetes or its operator do not answer.
    """
    from distributed import Client

    from mitoscale.cluster.group_sizes import set_group_sizes

    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError as error:
        raise InputError("kind kubernetes needs dask-kubernetes: pip install 'mitoscale[kubernetes]'") from error
    where = _where(settings)
    cluster_manifest, *others = manifests(settings)
    try:
        started = KubeCluster(custom_cluster_spec=cluster_manifest, namespace=where.namespace)
    except Exception as error:  # the client library has many: no configuration, no access, no operator, a timeout
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"Kubernetes does not start {where.name} in {where.namespace} ({reason}); is the Dask operator installed there?"
        ) from error
    with started as cluster, Client(cluster, set_as_default=False) as client:
        for manifest in others:
            name = manifest["metadata"]["name"].removeprefix(f"{where.name}-")
            cluster.add_worker_group(name, custom_spec=manifest["spec"]["worker"])
        per_pod = {name: group.per_job for name, group in settings.all_groups.items()}
        pods = Pods(cluster, per_pod, partial(set_group_sizes, client))
        with Autoscaler(client, settings.all_groups, pods) as autoscaler:
            yield Connection(client=client, dashboard=cluster.dashboard_link, more_to_come=autoscaler.more_to_come)


class Pods:
    """The operator's worker groups, whose sizes are set; the operator itself replaces pods that die.

    Parameters
    ----------
    cluster : dask_kubernetes.operator.KubeCluster
        Running.
    per_pod : mapping of str to int
        Our groups and how many workers a pod of each has; the first is the operator's group ``default``.
    tell : callable
        Is told the sizes of all groups before one changes: the operator asks the scheduler which workers may leave.
    """

    def __init__(self, cluster: Any, per_pod: Mapping[Any, int], tell: Callable[[Mapping[str, int]], None]) -> None:
        self._cluster = cluster
        self._tell = tell
        self._per_pod = per_pod
        self._names = {name: "default" if number == 0 else name for number, name in enumerate(per_pod)}
        self._asked: dict[str, int] = {}
        self._missing = False

    def keep(self, wanted: Mapping[str, int], state: State) -> list[str]:
        """See :class:`mitoscale.cluster.autoscaling.WorkerSource`; which pods leave, the operator asks of the scheduler."""
        if self._asked != wanted:
            self._tell(wanted)
        for name, number in wanted.items():
            if self._asked.get(name) != number:
                self._cluster.scale(number // self._per_pod[name], worker_group=self._names[name])
                self._asked[name] = number
        self._missing = len(state.idle) < sum(wanted.values())
        return []

    def more_to_come(self) -> bool:
        """Whether fewer workers are here than were asked for."""
        return self._missing

    def close(self) -> None:
        """Nothing: the pods go with the cluster."""


def manifests(settings: ClusterSettings) -> list[dict[str, Any]]:
    """The DaskCluster with the first group, and a DaskWorkerGroup for each other group."""
    where = _where(settings)
    (first, group), *others = settings.all_groups.items()
    cluster = {
        "apiVersion": _API,
        "kind": "DaskCluster",
        "metadata": {"name": where.name, "namespace": where.namespace},
        "spec": {"scheduler": _scheduler(settings, where), "worker": _workers(first, group, settings, where)},
    }
    groups = [
        {
            "apiVersion": _API,
            "kind": "DaskWorkerGroup",
            "metadata": {"name": f"{where.name}-{name}", "namespace": where.namespace},
            "spec": {"cluster": where.name, "worker": _workers(name, group, settings, where)},
        }
        for name, group in others
    ]
    return [cluster, *groups]


def _workers(name: str, group: Group, settings: ClusterSettings, where: Kubernetes) -> dict[str, Any]:
    memory = bytes_of(group.memory or "")
    limits = {
        "cpu": str((group.cpus or group.tasks * settings.threads) * group.per_job),
        "memory": str(memory * group.per_job),
    }
    if group.gpus:
        limits["nvidia.com/gpu"] = str(group.gpus)
    container = {
        "name": "worker",
        "image": where.image,
        "command": _worker_command(name, group, memory),
        "env": _variables(worker_environment(settings, group)),
        "resources": {"limits": limits, "requests": dict(limits)},
        "volumeMounts": [{"name": "store", "mountPath": where.mount}],
    }
    volumes = [{"name": "store", "persistentVolumeClaim": {"claimName": where.claim}}]
    return {"replicas": group.least // group.per_job, "spec": {"containers": [container], "volumes": volumes}}


def _worker_command(name: str, group: Group, memory: int) -> list[str]:
    """What a pod runs; for several GPUs a worker each, once all of them are there."""
    options = {"--nthreads": group.tasks, "--memory-limit": memory, "--resources": f"{name}={group.tasks}", "--death-timeout": 600}
    given = [str(part) for option in options.items() for part in option]
    arguments = ["worker", "--name", "$(DASK_WORKER_NAME)", "--no-dashboard", *given, *group.worker_options]
    if group.gpus <= 1:
        return ["dask", *arguments]
    check = f'python -m mitoscale.cluster.job_gpus {group.gpus} && exec "$@"'
    return ["sh", "-c", check, "sh", "dask", "cuda", *arguments]


def _scheduler(settings: ClusterSettings, where: Kubernetes) -> dict[str, Any]:
    names = {"tcp-comm": 8786, "http-dashboard": 8787}
    probe = {"httpGet": {"port": "http-dashboard", "path": "/health"}, "periodSeconds": 10}
    limits = {"cpu": "1", "memory": str(bytes_of(_SCHEDULER_MEMORY))}
    container = {
        "name": "scheduler",
        "image": where.image,
        "command": ["dask", "scheduler", "--host", "0.0.0.0"],
        "env": _variables(inherited(configuration(settings))),
        "resources": {"limits": limits, "requests": dict(limits)},
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in names.items()],
        "readinessProbe": probe,
        "livenessProbe": {**probe, "initialDelaySeconds": 15},
    }
    service = {
        "type": "ClusterIP",
        "selector": {"dask.org/cluster-name": where.name, "dask.org/component": "scheduler"},
        "ports": [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in names.items()],
    }
    return {"spec": {"containers": [container]}, "service": service}


def _variables(environment: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in environment.items()]


def _where(settings: ClusterSettings) -> Kubernetes:
    if settings.kubernetes is None:
        raise InputError("kind kubernetes needs kubernetes: image and claim")
    return settings.kubernetes
