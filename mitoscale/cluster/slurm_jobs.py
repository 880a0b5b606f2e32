"""The SLURM jobs of a run: submitted, watched and cancelled with SLURM's own commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mitoscale.cluster.autoscaling import State
from mitoscale.cluster.slurm_script import job_name, job_workers
from mitoscale.core.errors import InputError, StoppedError

HOPELESS = 5
"""After so many jobs in a row that ended before their workers came, no more are submitted."""


class Jobs:
    """The jobs of a run: submitted, watched and cancelled with SLURM's own commands.

    Parameters
    ----------
    scripts : mapping of str to str
        The batch script of each group.
    folder : Path
        Where scripts and logs are.
    per_job : mapping of str to int
        Workers that each group's jobs start.
    """

    def __init__(self, scripts: Mapping[str, str], folder: Path, per_job: Mapping[Any, int]) -> None:
        self._folder = folder
        self._per_job = {str(name): number for name, number in per_job.items()}
        self._jobs: dict[str, dict[str, bool]] = {name: {} for name in scripts}
        """For each group its jobs, and whether their workers have ever all been there."""
        self._in_vain = dict.fromkeys(scripts, 0)
        self._pending: set[str] = set()
        for name, script in scripts.items():
            write_private(self._script(name), script)

    def keep(self, wanted: Mapping[str, int], state: State) -> list[str]:
        """See :class:`mitoscale.cluster.autoscaling.WorkerSource`."""
        workers = _by_job(state.idle)
        self._look(workers)
        leaving: list[str] = []
        for name, number in wanted.items():
            jobs = self._jobs[name]
            surplus = len(jobs) - number // self._per_job[name]
            for _ in range(-surplus):
                jobs[self._submit(name)] = False
            waiting = [job for job in jobs if job in self._pending][: max(surplus, 0)]
            for job in waiting:
                jobs.pop(job)
            _call("scancel", *waiting)
            there = (workers.get(job_workers(name, job), []) for job in jobs)
            idle = [names for names in there if names and all(state.idle[worker] for worker in names)]
            leaving += [worker for names in idle[: max(surplus - len(waiting), 0)] for worker in names]
        return leaving

    def more_to_come(self) -> bool:
        """Whether jobs wait in the queue."""
        return bool(self._pending)

    def close(self) -> None:
        """Cancel all jobs."""
        _call("scancel", *(job for jobs in self._jobs.values() for job in jobs))

    def _look(self, workers: Mapping[str, list[str]]) -> None:
        """Forget jobs that ended, and count those whose workers never came."""
        if not any(self._jobs.values()):
            return
        try:
            lines = _call("squeue", "-h", "-o", "%i %t", "--name", ",".join(job_name(n, self._folder) for n in self._jobs))
        except StoppedError:  # the queue's server is away for a moment: what was there still is
            return
        states = dict(line.split()[:2] for line in lines.splitlines() if line.strip())
        alive = {job: status for job, status in states.items() if status != "CG"}  # completing: its workers are gone
        self._pending = {job for job, status in alive.items() if status in ("PD", "CF", "RQ")}
        for name, jobs in self._jobs.items():
            last = ""
            for job in list(jobs):
                if len(workers.get(job_workers(name, job), ())) >= self._per_job[name]:
                    jobs[job], self._in_vain[name] = True, 0
                if job not in alive and not jobs.pop(job):
                    self._in_vain[name] += 1
                    last = job
            if self._in_vain[name] >= HOPELESS:
                raise StoppedError(
                    f"{HOPELESS} jobs of group {name} ended before their workers came{self._last_words(last)}; see the logs in "
                    f"{self._folder}, then start the same command again"
                )

    def _last_words(self, job: str) -> str:
        """The last line that a job wrote to its log of errors, in brackets."""
        logs = self._folder.glob(f"*-{job}[!0-9-]*err")
        lines = [line.strip() for log in logs for line in log.read_text(encoding="utf-8", errors="replace").split("\n")]
        said = [line for line in lines if line]
        return f" ({said[-1]})" if said else ""

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


def _by_job(workers: Iterable[str]) -> dict[str, list[str]]:
    """Workers by the name of their job, see :func:`mitoscale.cluster.slurm_script.job_workers`.

    Examples
    --------
    >>> _by_job(["io-4711", "gpu-4712-0", "gpu-4712-1"])
    {'io-4711': ['io-4711'], 'gpu-4712': ['gpu-4712-0', 'gpu-4712-1']}
    """
    found: dict[str, list[str]] = {}
    for worker in workers:
        found.setdefault("-".join(worker.split("-")[:2]), []).append(worker)
    return found


def write_private(path: Path, text: str) -> None:
    """Write a new file that its owner alone may read: a batch script may hold values of ``environment``, such as passwords.

    Parameters
    ----------
    path : Path
        Must not be there yet.
    text : str
        Its content.
    """
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
