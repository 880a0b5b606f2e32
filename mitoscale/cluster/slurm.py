"""Kind ``slurm``: we start the scheduler, and each worker is a SLURM job that joins it.

One job script a group, rendered by dask-jobqueue and submitted as often as the group has workers. A job that ends (cancelled,
preempted, out of time, its node lost) is submitted again while the run goes on.
"""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mitoscale.cluster.autoscaling import Autoscaler, State
from mitoscale.cluster.configuration import worker_environment
from mitoscale.cluster.connection import Connection
from mitoscale.cluster.groups import Queue
from mitoscale.cluster.scheduler import dashboard_of, scheduler_with, tls_files
from mitoscale.cluster.settings import ClusterSettings, Tls
from mitoscale.core.errors import InputError, StoppedError

HOPELESS = 5
"""After so many jobs in a row that ended before their worker came, no more are submitted."""


@contextmanager
def slurm_cluster(settings: ClusterSettings) -> Iterator[Connection]:
    """Start a scheduler here and workers as jobs.

    Yields
    ------
    Connection

    Raises
    ------
    InputError
        If dask-jobqueue or SLURM are missing, or the queue refuses the jobs.
    """
    from distributed import Client

    folder = _new_folder(settings)
    with ExitStack() as stack:
        if settings.tls is None:
            settings = settings.model_copy(update={"tls": stack.enter_context(temporary_certificates(folder))})
        cluster = stack.enter_context(scheduler_with({}, settings))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        scripts: dict[str, str] = {n: job_script(n, settings, cluster.scheduler_address, folder) for n in settings.all_groups}
        jobs = Jobs(scripts, folder)
        with Autoscaler(client, settings.all_groups, jobs) as autoscaler:
            yield Connection(client=client, dashboard=dashboard_of(cluster, settings), more_to_come=autoscaler.more_to_come)


@contextmanager
def temporary_certificates(folder: Path) -> Iterator[Tls]:
    """Certificates of this run alone, which its owner alone may read; nobody else can join its scheduler.

    Parameters
    ----------
    folder : Path
        Where they are written, and removed from at the end; the jobs read them there.

    Yields
    ------
    Tls

    Raises
    ------
    InputError
        If the library that makes them is missing.
    """
    from distributed import Security

    try:
        made = Security.temporary()
    except ImportError as error:
        raise InputError("kind slurm makes certificates with cryptography: pip install 'mitoscale[slurm]', or give tls") from error
    texts = {"ca": made.tls_ca_file, "certificate": made.tls_worker_cert, "key": made.tls_worker_key}
    files = {role: folder / f"{role}.pem" for role in texts}
    try:
        for role, text in texts.items():
            _write_private(files[role], text)
        yield Tls(**{role: str(file) for role, file in files.items()})
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)


def job_script(name: str, settings: ClusterSettings, scheduler: str, folder: Path) -> str:
    """The batch script of a group's jobs.

    Parameters
    ----------
    name : str
        The group.
    settings : ClusterSettings
        Of kind slurm.
    scheduler : str
        Address that the worker joins.
    folder : Path
        For logs; its name tells one run's jobs from another's.

    Raises
    ------
    InputError
        If dask-jobqueue is missing.
    """
    try:
        from dask_jobqueue.slurm import SLURMJob
    except ImportError as error:
        raise InputError("kind slurm needs dask-jobqueue: pip install 'mitoscale[slurm]'") from error
    group = {str(key): value for key, value in settings.all_groups.items()}[name]
    queue = group.queue or Queue()
    exports = [f"export {name}={shlex.quote(value)}" for name, value in worker_environment(settings, group).items()]
    gpus = [f"--gres=gpu:{group.gpus}"] if group.gpus else []
    job = SLURMJob(
        scheduler=scheduler,
        name=f"{name}-$SLURM_JOB_ID",  # the shell fills it in: all jobs of a group have one script
        queue=queue.partition,
        account=queue.account,
        walltime=queue.walltime,
        job_directives_skip=() if queue.walltime else ("#SBATCH -t ",),  # dask-jobqueue would ask for half an hour
        cores=group.tasks,
        job_cpu=group.cpus or group.tasks * settings.threads,
        memory=group.memory,
        processes=1,
        interface="",
        death_timeout=600,
        worker_extra_args=["--resources", f"{name}={group.tasks}", "--no-dashboard", *_tls_arguments(settings)],
        job_extra_directives=[*gpus, "--no-requeue", *queue.directives],
        job_script_prologue=[*queue.prologue, *exports],
        log_directory=str(folder),
        shebang="#!/usr/bin/env bash",
        python=shlex.quote(sys.executable),
        job_name=_job_name(name, folder),
    )
    script: str = job.job_script()
    return script


class Jobs:
    """The jobs of a run: submitted, watched and cancelled with SLURM's own commands.

    Parameters
    ----------
    scripts : mapping of str to str
        The batch script of each group.
    folder : Path
        Where scripts and logs are.
    """

    def __init__(self, scripts: Mapping[str, str], folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[str, dict[str, bool]] = {name: {} for name in scripts}
        """For each group its jobs, and whether their worker has ever been there."""
        self._in_vain = dict.fromkeys(scripts, 0)
        self._pending: set[str] = set()
        for name, script in scripts.items():
            _write_private(self._script(name), script)

    def keep(self, wanted: Mapping[str, int], state: State) -> list[str]:
        """See :class:`mitoscale.cluster.autoscaling.WorkerSource`."""
        self._look(state)
        leaving: list[str] = []
        for name, number in wanted.items():
            jobs = self._jobs[name]
            for _ in range(number - len(jobs)):
                jobs[self._submit(name)] = False
            surplus = len(jobs) - number
            waiting = [job for job in jobs if job in self._pending][: max(surplus, 0)]
            for job in waiting:
                jobs.pop(job)
            _call("scancel", *waiting)
            idle = [f"{name}-{job}" for job in jobs if state.idle.get(f"{name}-{job}")]
            leaving += idle[: max(surplus - len(waiting), 0)]
        return leaving

    def more_to_come(self) -> bool:
        """Whether jobs wait in the queue."""
        return bool(self._pending)

    def close(self) -> None:
        """Cancel all jobs."""
        _call("scancel", *(job for jobs in self._jobs.values() for job in jobs))

    def _look(self, state: State) -> None:
        """Forget jobs that ended, and count those whose worker never came."""
        if not any(self._jobs.values()):
            return
        try:
            lines = _call("squeue", "-h", "-o", "%i %t", "--name", ",".join(_job_name(n, self._folder) for n in self._jobs))
        except StoppedError:  # the queue's server is away for a moment: what was there still is
            return
        states = dict(line.split()[:2] for line in lines.splitlines() if line.strip())
        alive = {job: status for job, status in states.items() if status != "CG"}  # completing: its worker is gone
        self._pending = {job for job, status in alive.items() if status in ("PD", "CF", "RQ")}
        for name, jobs in self._jobs.items():
            for job in list(jobs):
                if f"{name}-{job}" in state.idle:
                    jobs[job], self._in_vain[name] = True, 0
                if job not in alive:
                    self._in_vain[name] += not jobs.pop(job)
            if self._in_vain[name] >= HOPELESS:
                raise StoppedError(
                    f"{HOPELESS} jobs of group {name} ended before their worker came; see the logs in {self._folder}, "
                    "then start the same command again"
                )

    def _submit(self, name: str) -> str:
        out = _call("sbatch", "--parsable", str(self._script(name)), refused=f"group {name}: the queue refuses its jobs")
        return out.strip().split(";")[0]

    def _script(self, name: str) -> Path:
        return self._folder / f"{name}.sh"


def _call(*command: str, refused: str = "") -> str:
    """What a SLURM command prints; a command without operands but its name is left out.

    Raises
    ------
    InputError
        If SLURM is not installed, or it refuses (where ``refused`` says what).
    StoppedError
        If it does not answer.
    """
    if len(command) == 1:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError as error:
        raise InputError(f"kind slurm: {command[0]} is not found; start the run where jobs are submitted") from error
    except subprocess.TimeoutExpired as error:
        raise StoppedError(f"{command[0]} does not answer") from error
    if done.returncode and command[0] != "scancel":  # a job that has just ended cannot be cancelled
        reason = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[0]
        raise InputError(f"{refused} ({reason})") if refused else StoppedError(f"{command[0]} fails ({reason})")
    return done.stdout


def _tls_arguments(settings: ClusterSettings) -> list[str]:
    options = {"ca": "--tls-ca-file", "certificate": "--tls-cert", "key": "--tls-key"}
    return [part for role, path in tls_files(settings).items() for part in (options[role], shlex.quote(path))]


def _write_private(path: Path, text: str) -> None:
    """Write a new file that its owner alone may read: a batch script may hold values of ``environment``, such as passwords."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _job_name(name: str, folder: Path) -> str:
    return f"mitoscale-{name}-{folder.name}"


def _new_folder(settings: ClusterSettings) -> Path:
    """A folder for this run's scripts and logs.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    folder = (
        Path(settings.folder).expanduser().absolute()
        / f"{getpass.getuser()}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06d}"
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise InputError(
            f"folder {settings.folder} cannot be written ({error.strerror}); give one that all machines share"
        ) from error
    return folder
