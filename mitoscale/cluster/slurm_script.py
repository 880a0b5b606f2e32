"""The batch script of a group's SLURM jobs, rendered by dask-jobqueue: what a job asks of the queue, and the workers it starts."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from mitoscale.cluster.configuration import worker_environment
from mitoscale.cluster.groups import Group, Queue
from mitoscale.cluster.scheduler import tls_files
from mitoscale.cluster.settings import ClusterSettings
from mitoscale.cluster.units import bytes_of
from mitoscale.core.errors import InputError

_COMMAND, _CUDA_COMMAND = "distributed.cli.dask_worker", "dask_cuda.cli"
"""The modules behind ``dask worker`` and ``dask cuda worker``, which dask-jobqueue runs with ``python -m``."""


def job_script(name: str, settings: ClusterSettings, scheduler: str, folder: Path) -> str:
    """The batch script of a group's jobs.

    A job of several workers starts them by one command, which names them after the job: ``gpu-4711-0``, ``gpu-4711-1`` and so
    on. With several GPUs that is ``dask cuda worker``: one worker for each, on the CPUs beside it.

    Parameters
    ----------
    name : str
        The group.
    settings : ClusterSettings
        Of kind slurm.
    scheduler : str
        Address that the workers join.
    folder : Path
        For logs; its name tells one run's jobs from another's.

    Raises
    ------
    InputError
        If dask-jobqueue, or for several GPUs dask-cuda, is missing.
    """
    try:
        from dask_jobqueue.slurm import SLURMJob
    except ImportError as error:
        raise InputError("kind slurm needs dask-jobqueue: pip install 'mitoscale[slurm]'") from error
    group = {str(key): value for key, value in settings.all_groups.items()}[name]
    if group.gpus > 1 and find_spec("dask_cuda") is None:  # jobs run the Python of this process
        raise InputError(f"groups.{name}.gpus: {group.gpus} GPUs in a job need dask-cuda: pip install 'mitoscale[cuda]'")
    queue = group.queue or Queue()
    exports = [f"export {name}={shlex.quote(value)}" for name, value in worker_environment(settings, group).items()]
    gpus = [f"--gres=gpu:{group.gpus}"] if group.gpus else []
    python = shlex.quote(sys.executable)
    job = SLURMJob(
        scheduler=scheduler,
        name=job_workers(name, "$SLURM_JOB_ID"),  # the shell fills it in: all jobs of a group have one script
        queue=queue.partition,
        account=queue.account,
        walltime=queue.walltime,
        job_directives_skip=() if queue.walltime else ("#SBATCH -t ",),  # dask-jobqueue would ask for half an hour
        cores=group.tasks * group.per_job,
        job_cpu=(group.cpus or group.tasks * settings.threads) * group.per_job,
        memory=str(bytes_of(group.memory or "") * group.per_job),
        processes=group.per_job,
        interface="",
        death_timeout=600,
        worker_command=_CUDA_COMMAND if group.gpus > 1 else _COMMAND,
        worker_extra_args=[
            *("--resources", f"{name}={group.tasks}"),
            *("--no-dashboard", "--dashboard-address", "127.0.0.1:0"),  # else each tells its health to the whole network
            *_tls_arguments(settings),
            *map(shlex.quote, group.worker_options),
        ],
        job_extra_directives=[*gpus, "--no-requeue", *queue.directives],
        job_script_prologue=[*queue.prologue, *exports, *_gpu_check(group, python)],
        log_directory=str(folder),
        shebang="#!/usr/bin/env bash",
        python=python,
        job_name=job_name(name, folder),
    )
    script: str = job.job_script()
    return script


def job_name(group: str, folder: Path) -> str:
    """What the queue calls a group's jobs.

    Parameters
    ----------
    group : str
        The group.
    folder : Path
        Of the run's scripts and logs.
    """
    return f"mitoscale-{group}-{folder.name}"


def job_workers(group: str, job: str) -> str:
    """What the workers of a job are called: this, or, where they are several, this and ``-0``, ``-1`` and so on.

    Parameters
    ----------
    group, job : str
        The group, and the job's number.
    """
    return f"{group}-{job}"


def _gpu_check(group: Group, python: str) -> list[str]:
    """The job's first command: it ends at once where it was not given the GPUs it asked for."""
    return [f"{python} -m mitoscale.cluster.job_gpus {group.gpus} || exit 1"] if group.gpus else []


def _tls_arguments(settings: ClusterSettings) -> list[str]:
    options = {"ca": "--tls-ca-file", "certificate": "--tls-cert", "key": "--tls-key"}
    return [part for role, path in tls_files(settings).items() for part in (options[role], shlex.quote(path))]
