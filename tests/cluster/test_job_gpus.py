"""A job that was not given its GPUs ends at once, with one line that says why."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

from mitoscale.cluster.gpus import found_gpus
from mitoscale.cluster.job_gpus import problem_with_gpus

NO_GPU = not found_gpus()


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether dask-cuda is installed decides elsewhere: here it is."""
    monkeypatch.setattr("mitoscale.cluster.job_gpus.find_spec", lambda name: name)


@pytest.mark.parametrize(
    ("seen", "wanted", "says"),
    [
        (2, 4, r"the job sees 2 NVIDIA GPUs, and its group asks for gpus: 4 \(on .*CUDA_VISIBLE_DEVICES is '0,1'\)"),
        (1, 4, r"sees 1 NVIDIA GPU, and its group asks for gpus: 4"),
        (0, 1, r"sees 0 NVIDIA GPUs, and its group asks for gpus: 1"),
        (8, 4, r"sees 8 NVIDIA GPUs, and its group asks for gpus: 4"),
    ],
)
@pytest.mark.usefixtures("libraries")
def test_another_number_of_gpus_is_told(seen: int, wanted: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(seen))))
    monkeypatch.setattr("mitoscale.cluster.gpus._count", lambda: 8 if seen else 0)
    problem = problem_with_gpus(wanted)
    assert re.search(says, problem) and "\n" not in problem
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(wanted))))
    monkeypatch.setattr("mitoscale.cluster.gpus._count", lambda: 8)
    assert problem_with_gpus(wanted) == ""


@pytest.mark.parametrize(
    ("chosen", "there", "found"),
    [
        (None, 3, ["0", "1", "2"]),
        ("2, 0", 3, ["2", "0"]),
        ("0,7,1", 3, ["0"]),  # as CUDA counts them
        ("", 3, []),
        ("0,1", 0, []),
        ("MIG-41b3359c,GPU-84fd49f2", 1, ["MIG-41b3359c", "GPU-84fd49f2"]),
    ],
)
def test_gpus_are_counted_as_cuda_does(chosen: str | None, there: int, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if chosen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    monkeypatch.setattr("mitoscale.cluster.gpus._count", lambda: there)
    assert found_gpus() == found


@pytest.mark.skipif(not NO_GPU, reason="this machine has a GPU")
def test_as_the_job_runs_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "mitoscale.cluster.job_gpus", "4"], capture_output=True, text=True, check=False, timeout=60
    )
    (line,) = ended.stderr.splitlines()
    without = importlib.util.find_spec("dask_cuda") is None
    assert ended.returncode == 1 and line.startswith("mitoscale: ")
    assert ("4 GPUs in a job need dask-cuda" if without else "the job sees 0 NVIDIA GPUs") in line
