"""What ``cluster.yaml`` may say: the kind of cluster, its groups of workers, and how it is reached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from mitoscale.cluster.groups import Group, GroupName, Settings
from mitoscale.cluster.units import Duration, Memory
from mitoscale.core.errors import InputError

Kind = Literal["local", "cuda", "slurm", "kubernetes", "address"]
"""Where workers run."""

KINDS: tuple[str, ...] = get_args(Kind)
"""The kinds of cluster that cluster.yaml may name."""


class Tls(Settings):
    """PEM files with which scheduler, workers and client prove who they are."""

    ca: str
    """Certificate of the authority that signed the others; the only one trusted."""
    certificate: str
    """Certificate."""
    key: str
    """Its private key."""


PLAIN_TCP = "plain tcp"
"""What ``tls`` says where a SLURM run shall do without encryption."""


class Kubernetes(Settings):
    """Where in Kubernetes, and from which image."""

    image: str
    """Container image with mitoscale installed."""
    claim: str
    """PersistentVolumeClaim (ReadWriteMany) that holds sources and runs."""
    mount: str = Field(default="/data", pattern="^/")
    """Where the claim is mounted, in the pods and where the run is started: paths are the same everywhere."""
    namespace: str = "default"
    """Namespace."""
    name: str = Field(default="mitoscale", pattern=r"^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$")
    """Name of the DaskCluster."""


class ClusterSettings(Settings):
    """The contents of ``cluster.yaml``."""

    kind: Kind = "local"
    """``local``: workers on this machine; ``cuda``: one for each of its GPUs; ``slurm`` jobs; ``kubernetes`` pods;
    ``address``: the workers of a scheduler that is running already."""
    threads: int = Field(default=1, ge=1)
    """Threads a task computes with; the same number gives the same labels, bit for bit."""
    workers: int | None = Field(default=None, ge=1)
    """Workers, where all are alike: short for a single group."""
    memory: Memory | None = None
    """Their memory limit, such as ``4 GiB``; by default each one's share of the machine."""
    groups: Mapping[GroupName, Group] = Field(default_factory=dict)
    """Workers of several kinds."""
    address: str | None = None
    """Of the running scheduler, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``."""
    host: str = "127.0.0.1"
    """Address of this machine at which the scheduler listens (slurm: one that the jobs reach)."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the scheduler; 0: any that is free."""
    tls: Tls | Literal["plain tcp"] | None = None
    """Encryption, and proof of who takes part. Where it is left out, ``slurm`` makes certificates for the run alone; there,
    ``plain tcp`` does without: whoever reaches the scheduler's port can then run code as you."""
    dashboard: str = "127.0.0.1:8787"
    """Address of the dashboard; where it is taken, a free port is used instead."""
    worker_ttl: Duration = "30 minutes"
    """A worker that is silent for longer counts as dead."""
    folder: str = "~/.mitoscale"
    """Folder all machines share, for the jobs' scripts and logs (slurm)."""
    kubernetes: Kubernetes | None = None
    """See the class."""
    dask: Mapping[str, Any] = Field(default_factory=dict)
    """Dask's own settings, nested or dotted; they win over those chosen here."""

    @field_validator("dashboard")
    @classmethod
    def _check_dashboard(cls, value: str) -> str:
        match = re.fullmatch(r"[^\s:/]+:(\d{1,5})", value)
        if match is None or int(match[1]) > 65535:
            raise ValueError(f"{value!r} is not HOST:PORT such as 127.0.0.1:8787")
        return value

    @field_validator("address")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        match = re.fullmatch(r"(?:tcp|tls)://(?:\[[0-9a-fA-F:]+\]|[^\s:/]+):(\d{1,5})", value or "")
        if value is not None and (match is None or not 0 < int(match[1]) <= 65535):
            raise ValueError(f"{value!r} is not tcp://HOST:PORT or tls://HOST:PORT")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """What does not go together, said so that it can be put right."""
        if self.groups and (self.workers or self.memory):
            yield "give workers and memory in each of groups, not beside them"
        if (self.kind == "address") != (self.address is not None):
            yield "kind address needs the address of the running scheduler, as address: tcp://HOST:PORT; other kinds have none"
        if self.tls == PLAIN_TCP and self.kind != "slurm":
            yield f"tls: {PLAIN_TCP} is for kind slurm; leave tls out"
            return
        if self.address and self.address.startswith("tls://") != (self.tls is not None):
            yield f"{self.address} {'lacks' if self.tls is None else 'is not encrypted, but there are'} tls: ca, certificate, key"
        if (self.kind == "kubernetes") != (self.kubernetes is not None):
            yield "kind kubernetes needs kubernetes: image and claim; other kinds have none"
        if self.kind == "kubernetes" and self.tls:
            yield "kind kubernetes has no tls: the operator's scheduler speaks tcp within the cluster"
        if self.kind == "slurm" and self.host.startswith("127."):
            yield f"kind slurm needs host: an address of this machine that the jobs reach; {self.host} is the machine's own"
        if self.kind == "cuda" and self.groups and not any(g.gpus for g in self.groups.values()):
            yield "kind cuda needs a group with gpus: 1"
        for name, group in self.all_groups.items():
            yield from self._group_problems(name, group)

    def _group_problems(self, name: str, group: Group) -> Iterator[str]:
        queued = self.kind in ("slurm", "kubernetes")
        if group.gpus and self.kind == "local":
            yield f"groups.{name}.gpus: kind local uses no GPU; write kind: cuda"
        if group.gpus > 1 and self.kind == "cuda":
            yield f"groups.{name}.gpus: a worker of kind cuda has one GPU; write gpus: 1 and workers: {group.gpus}"
        if group.gpus > 1 and name == "train":
            yield "groups.train.gpus: a training computes on one GPU; write gpus: 1"
        if group.workers_per_job and self.kind != "slurm":
            yield f"groups.{name}.workers_per_job: only kind slurm has jobs"
        if group.worker_options and not queued:
            yield f"groups.{name}.worker_options: only slurm and kubernetes start workers by a command"
        if group.per_job > 1 and group.adaptive and self.kind == "kubernetes":
            yield (
                f"groups.{name}.adaptive: the Dask operator takes pods back by the name of their only worker, and these have "
                f"{group.per_job}; give gpus: 1, or workers"
            )
        if group.queue and self.kind != "slurm":
            yield f"groups.{name}.queue: only kind slurm has a queue"
        if group.adaptive and not queued:
            yield f"groups.{name}.adaptive: only slurm and kubernetes grow and shrink; give workers"
        if group.cpus and not queued:
            yield f"groups.{name}.cpus: only slurm and kubernetes ask for CPUs"
        if queued and group.memory is None:
            yield f"groups.{name}.memory: kind {self.kind} needs to know how much memory a worker asks for"
        if self.kind == "address" and group != Group():
            yield "kind address takes the workers as they are; remove groups, workers and memory"

    @property
    def all_groups(self) -> Mapping[GroupName, Group]:
        """The groups, also where the short form says ``workers`` and ``memory`` alone."""
        if self.groups:
            return self.groups
        if self.kind == "cuda":
            return {"gpu": Group(workers=self.workers, memory=self.memory, gpus=1)}
        return {"io": Group(workers=self.workers, memory=self.memory)}

    @property
    def expected(self) -> int:
        """Workers there are from the start; of a scheduler that runs already, at least one."""
        return 1 if self.kind == "address" else sum(group.least for group in self.all_groups.values())

    def with_someone_everywhere(self) -> ClusterSettings:
        """The same where groups that grow from none have one worker."""
        groups = {
            name: group.model_copy(update={"adaptive": None, "workers": max(group.per_job, group.least)})
            if group.adaptive
            else group
            for name, group in self.groups.items()
        }
        return self.model_copy(update={"groups": groups})

    def with_workers(self, workers: int) -> ClusterSettings:
        """The same with another number of workers in the group that does most: ``gpu`` where there is one, else ``io``.

        Raises
        ------
        InputError
            If the workers are not ours to start, or jobs do not divide them.

        Examples
        --------
        >>> ClusterSettings(groups={"io": Group(), "gpu": Group()}).with_workers(3).groups["gpu"].workers
        3
        """
        if self.kind == "address":
            raise InputError(f"--workers {workers}: kind address takes the workers as they are; start more of them instead")
        if not self.groups:
            return self.model_copy(update={"workers": workers})
        name: GroupName = "gpu" if "gpu" in self.groups else "io" if "io" in self.groups else "train"
        per_job = self.groups[name].per_job
        if workers % per_job:
            raise InputError(f"--workers {workers}: a job of group {name} has {per_job} workers; give a multiple of {per_job}")
        group = self.groups[name].model_copy(update={"workers": workers, "adaptive": None})
        return self.model_copy(update={"groups": {**self.groups, name: group}})
