"""How jobs and their workers are counted; the queue's answers are given here, tests/cluster/test_slurm.py has a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitoscale.cluster.autoscaling import State
from mitoscale.cluster.slurm_jobs import HOPELESS, Jobs
from mitoscale.core.errors import StoppedError


class Slurm:
    """Jobs by number, and their states as ``squeue`` tells them."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.submitted = 0

    def call(self, *command: str, refused: str = "") -> str:
        """Stands for SLURM's commands."""
        if command[0] == "sbatch":
            self.submitted += 1
            self.states[str(self.submitted)] = "PD"
            return f"{self.submitted}\n"
        if command[0] == "scancel":
            for job in command[1:]:
                self.states.pop(job)
            return ""
        return "".join(f"{job} {state}\n" for job, state in self.states.items())


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    made = Slurm()
    monkeypatch.setattr("mitoscale.cluster.slurm_jobs._call", made.call)
    return made


@pytest.fixture
def jobs(slurm: Slurm, tmp_path: Path) -> Jobs:
    return Jobs({"io": "", "gpu": ""}, tmp_path, {"io": 1, "gpu": 4})


def state(*there: str, busy: tuple[str, ...] = ()) -> State:
    return State(load={}, idle={name: name not in busy for name in there})


def workers(job: int, count: int = 4) -> list[str]:
    return [f"gpu-{job}-{number}" for number in range(count)]


def test_a_job_with_four_workers_is_submitted_once_for_four(slurm: Slurm, jobs: Jobs) -> None:
    assert jobs.keep({"io": 1, "gpu": 8}, state()) == []
    assert slurm.submitted == 3 and not jobs.more_to_come()
    jobs.keep({"io": 1, "gpu": 8}, state())
    assert slurm.submitted == 3 and jobs.more_to_come()
    slurm.states = dict.fromkeys(slurm.states, "R")
    for there in ([], workers(2, 1), [*workers(2), *workers(3, 3)], [*workers(2), *workers(3)], workers(2, 2)):
        assert jobs.keep({"io": 1, "gpu": 8}, state("io-1", *there)) == []
        assert slurm.submitted == 3 and not jobs.more_to_come()  # a job that runs is not replaced for a worker it lacks
    del slurm.states["2"]  # it ended, and with it all of its workers
    jobs.keep({"io": 1, "gpu": 8}, state("io-1", *workers(3)))
    assert slurm.submitted == 4 and list(slurm.states) == ["1", "3", "4"]


def test_a_job_leaves_when_all_of_its_workers_are_idle(slurm: Slurm, jobs: Jobs) -> None:
    jobs.keep({"io": 0, "gpu": 8}, state())
    slurm.states = dict.fromkeys(slurm.states, "R")
    there = [*workers(1), *workers(2), "gpu-20-0"]  # job 20 is not one of them
    assert jobs.keep({"io": 0, "gpu": 4}, state(*there, busy=("gpu-1-3", "gpu-2-0"))) == []
    assert jobs.keep({"io": 0, "gpu": 4}, state(*there, busy=("gpu-1-3",))) == workers(2)
    assert jobs.keep({"io": 0, "gpu": 0}, state(*there)) == [*workers(1), *workers(2)]


def test_jobs_that_wait_are_cancelled_first(slurm: Slurm, jobs: Jobs) -> None:
    jobs.keep({"io": 0, "gpu": 8}, state())
    slurm.states = {"1": "R", "2": "PD"}
    assert jobs.keep({"io": 0, "gpu": 4}, state(*workers(1))) == [] and list(slurm.states) == ["1"]


@pytest.mark.parametrize("came", [0, 3])
def test_jobs_that_end_before_their_workers_came_are_given_up_with_what_they_said(
    came: int, slurm: Slurm, jobs: Jobs, tmp_path: Path
) -> None:
    """Three of four: one GPU of the node is broken, and the job ends with the worker that cannot start there."""
    wanted = {"io": 0, "gpu": 4}
    (tmp_path / "mitoscale-gpu-x-51.err").write_text("of another job\n")
    jobs.keep(wanted, state())
    for job in range(1, HOPELESS):
        jobs.keep(wanted, state(*workers(job, came)))
        slurm.states.clear()
        jobs.keep(wanted, state())
    (tmp_path / f"mitoscale-gpu-x-{HOPELESS}.err").write_text("first\nmitoscale: the job sees 2 NVIDIA GPUs\n\n")
    slurm.states.clear()
    with pytest.raises(
        StoppedError, match=r"5 jobs of group gpu ended .* came \(mitoscale: the job sees 2 NVIDIA GPUs\); see the logs"
    ):
        jobs.keep(wanted, state())


def test_one_job_whose_workers_came_starts_the_count_anew(slurm: Slurm, jobs: Jobs) -> None:
    wanted = {"io": 0, "gpu": 4}
    jobs.keep(wanted, state())
    for job in range(1, 3 * HOPELESS):
        jobs.keep(wanted, state(*workers(job, 4 if job % HOPELESS == 0 else 0)))
        slurm.states.clear()
        jobs.keep(wanted, state())
    assert slurm.submitted == 3 * HOPELESS
