"""Groups of workers: what one of them is, and which group takes which tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mitoscale.cluster.units import Duration, Memory

GroupName = Literal["io", "gpu", "train"]
"""``gpu`` takes detect and segment, ``train`` takes training, ``io`` takes everything else."""

STAND_INS: Mapping[str, tuple[GroupName, ...]] = {
    "io": ("io", "gpu"),
    "gpu": ("gpu", "io"),
    "train": ("train", "gpu", "io"),
}
"""Who takes a group's tasks: the first of these that the cluster has."""


class Settings(BaseModel):
    """Base of all that ``cluster.yaml`` holds: frozen, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Adaptive(Settings):
    """How far a group grows and shrinks with the tasks that wait for it."""

    min: int = Field(default=0, ge=0)
    """Workers that are kept also when there is nothing to do."""
    max: int = Field(ge=1)
    """Most workers."""
    idle: Duration = "2 minutes"
    """A worker that had nothing to do for this long is given back."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class Queue(Settings):
    """What a SLURM job asks of the queue, beyond CPUs, memory and GPUs."""

    partition: str | None = None
    """``#SBATCH -p``."""
    account: str | None = None
    """``#SBATCH -A``."""
    walltime: str | None = Field(default=None, pattern=r"^(\d+-)?\d+(:\d+){0,2}$")
    """``#SBATCH -t``, such as ``"24:00:00"``; a job that ends is submitted again while the run goes on."""
    directives: tuple[str, ...] = ()
    """Other ``#SBATCH`` options, such as ``--constraint=a100``."""
    prologue: tuple[str, ...] = ()
    """Shell commands before the worker starts, such as ``module load cuda``."""


class Group(Settings):
    """Workers that are all alike."""

    workers: int | None = Field(default=None, ge=1)
    """Worker processes; by default as many as a local machine has room for, one a GPU (cuda), else those of one job."""
    threads: int | None = Field(default=None, ge=1, le=64)
    """Tasks a worker has in hand at once; by default 2 with a GPU, so that one reads and writes while the other computes."""
    memory: Memory | None = None
    """Memory limit of a worker, such as ``4 GiB``."""
    gpus: int = Field(default=0, ge=0)
    """0: none. Else each worker has one GPU, and a job or pod has this many GPUs and as many workers (slurm, kubernetes)."""
    workers_per_job: int | None = Field(default=None, ge=1)
    """Workers that one job starts, such as all of a node that is given as a whole (slurm); with GPUs one for each."""
    cpus: int | None = Field(default=None, ge=1)
    """CPUs a worker asks for (slurm, kubernetes); by default its tasks times the threads of one."""
    adaptive: Adaptive | None = None
    """Instead of ``workers``: as many as there is work for (slurm, kubernetes)."""
    queue: Queue | None = None
    """Queue options (slurm)."""
    environment: Mapping[str, str] = Field(default_factory=dict)
    """Environment variables of the workers."""
    worker_options: tuple[str, ...] = ()
    """Further options of the command that starts the workers (slurm, kubernetes): of ``dask worker``, or, with several GPUs, of
    ``dask cuda worker``, such as ``--local-directory=/scratch``."""

    @field_validator("environment")
    @classmethod
    def _check_environment(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is no name of an environment variable")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.workers and self.adaptive:
            raise ValueError("give either workers or adaptive")
        if self.gpus and self.workers_per_job not in (None, self.gpus):
            raise ValueError(
                f"workers_per_job {self.workers_per_job}: each GPU has one worker; leave it out with gpus: {self.gpus}"
            )
        limits = {"adaptive.min": self.adaptive.min, "adaptive.max": self.adaptive.max} if self.adaptive else {}
        for name, number in {"workers": self.workers or 0, **limits}.items():
            if number % self.per_job:
                raise ValueError(f"{name} {number} is no multiple of {self.per_job}, the workers of a job")
        return self

    @property
    def per_job(self) -> int:
        """Workers of one job or pod."""
        return max(self.gpus, self.workers_per_job or 1)

    @property
    def tasks(self) -> int:
        """Tasks a worker has in hand at once."""
        return self.threads or (2 if self.gpus else 1)

    @property
    def least(self) -> int:
        """Workers there are from the start."""
        return self.adaptive.min if self.adaptive else self.workers or self.per_job

    @property
    def most(self) -> int:
        """Most workers there will be."""
        return self.adaptive.max if self.adaptive else self.workers or self.per_job
