"""A real SLURM on this machine: runs complete, cancelled jobs are replaced, and what goes wrong is said."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from block_tasks import row_of_blocks
from by_hand import PATHS, ROOT, make_certificates
from commands import Ended, Stack, begin, finish, labels_of, renamed
from slurm_daemons import said, slurm, why_not

from mitoscale.cli.demo import _OBJECTS, _SHAPE, SEED
from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.cluster_file import load_cluster
from mitoscale.cluster.clusters import Cluster, start
from mitoscale.cluster.gpus import found_gpus
from mitoscale.cluster.placement import Place
from mitoscale.cluster.worker_info import ask_workers
from mitoscale.core.grid import Block
from mitoscale.core.result import BlockResult
from mitoscale.ops.phantom import make_phantom
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tiff_writing import write_tiff

BLOCK = (16, 176, 176)
"""Half the demo's blocks, so that enough are left when a job is cancelled: two workers have 18 s of work and more than they need
alone for longer than the autoscaler's round."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=f"no SLURM here: {why_not()}")]


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, slurm(tmp_path_factory.mktemp("slurm")) as path:
        patch.setenv("SLURM_CONF", path)
        patch.setenv("PYTHONPATH", PATHS)  # jobs inherit it
        yield path


def own_address() -> str:
    """An address of this machine beyond loopback."""
    found = [a.address for name, all_ in psutil.net_if_addrs().items() for a in all_ if a.family.name == "AF_INET" and name != "lo"]
    if not found:
        pytest.skip("this machine has no network interface but loopback")
    return found[0]


def cluster_file(folder: Path, tls: dict[str, str] | None = None, **groups: object) -> str:
    path = folder / "cluster.yaml"
    settings = {"kind": "slurm", "host": own_address(), "folder": str(folder / "jobs"), "dashboard": "127.0.0.1:0"}
    path.write_text(yaml.safe_dump({**settings, **({"tls": tls} if tls else {}), "groups": groups}))
    return str(path)


def entries(run: str, stage: str) -> list[dict]:
    path = Path(RunFolder(run).ledger(stage))
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(holds: object, seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < ends, "what was waited for never came"
        time.sleep(0.2)


def test_a_run_of_the_demos_size_survives_scancel(conf: str, tmp_path: Path) -> None:
    phantom = make_phantom(_SHAPE, objects=_OBJECTS, seed=SEED)
    image, truth, run = str(tmp_path / "phantom.tif"), str(tmp_path / "truth.npy"), str(tmp_path / "run")
    write_tiff(image, phantom.image, phantom.spacing)
    np.save(truth, phantom.labels)
    file = cluster_file(
        tmp_path,
        tls=make_certificates(tmp_path / "certificates") if shutil.which("openssl") else None,
        io={"workers": 1, "memory": "1 GiB", "queue": {"partition": "cpu", "walltime": "00:20:00"}},
        gpu={
            "adaptive": {"min": 0, "max": 4, "idle": "5 s"},
            "workers_per_job": 2,
            "memory": "1 GiB",
            "queue": {"partition": "gpu"},
        },
    )
    options = ["--detector", "known_truth:detector", "--detector-option", f"truth={truth}", "--min-volume", "0"]
    options += ["--segmenter", "known_truth:segmenter", "--segmenter-option", f"truth={truth}", "--segmenter-option", "seconds=3"]
    process = begin("run", image, run, *options, "--block", ",".join(map(str, BLOCK)), "--cluster", file)
    try:
        wait_until(lambda: len(entries(run, "segment")) >= 2)
        victim = said(conf, "squeue", "-h", "-o", "%i", "-p", "gpu", "-t", "R").split()[0]
        said(conf, "scancel", "--signal=KILL", "--full", victim)  # no chance to say good-bye
        said(conf, "scancel", victim)
        ended = finish(process)
    finally:
        process.kill()
    assert ended.code == 0, ended.err
    assert np.array_equal(renamed(labels_of(run)), renamed(phantom.labels))
    assert not said(conf, "squeue", "-h", "-t", "PD,R"), "jobs are left behind"
    logs = [p.name for p in (tmp_path / "jobs").rglob("*.out")]
    assert len([name for name in logs if "-gpu-" in name]) > 2, f"no job took the cancelled one's place: {logs}"
    assert len([name for name in logs if "-io-" in name]) == 1


def test_a_group_grows_with_its_tasks_and_goes_when_there_are_none(
    conf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitoscale.cluster.autoscaling.ROUND_SECONDS", 1.0)
    gpu = {"adaptive": {"min": 0, "max": 2, "idle": "2 s"}, "memory": "1 GiB", "queue": {"partition": "gpu"}}
    file = cluster_file(tmp_path, io={"workers": 1, "memory": "1 GiB"}, gpu=gpu)
    with start(load_cluster(file)) as cluster:

        def gpu_workers() -> int:
            return sum(a.group == "gpu" for a in ask_workers(cluster.client, dict))

        for _ in range(2):  # it comes back
            results: list[BlockResult] = []
            failures = cluster.executor.run(
                StageTasks("detect", rested, resource="gpu"), row_of_blocks(8), on_result=results.append
            )
            assert failures == [] and len(results) == 8
            wait_until(lambda: cluster.workers > 0 and gpu_workers() == 0)
        assert cluster.workers == 1
    logs = {path.name for path in (tmp_path / "jobs").rglob("*-gpu-*.out")}
    assert len(logs) == 4, logs  # twice two


def test_the_workers_of_a_job_come_and_go_together(conf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.cluster.autoscaling.ROUND_SECONDS", 1.0)
    gpu = {"adaptive": {"min": 2, "max": 4, "idle": "2 s"}, "workers_per_job": 2, "memory": "1 GiB"}
    file = cluster_file(tmp_path, gpu=gpu)
    with start(load_cluster(file)) as cluster:
        first = workers_of_a_new_job(cluster)
        assert "NumCPUs=2" in said(conf, "scontrol", "show", "job", first)
        said(conf, "scancel", "--signal=KILL", "--full", first)
        said(conf, "scancel", first)
        second = workers_of_a_new_job(cluster, [first])
        results: list[BlockResult] = []
        assert cluster.executor.run(StageTasks("detect", rested, resource="gpu"), row_of_blocks(24), on_result=results.append) == []
        assert len(results) == 24
        wait_until(lambda: said(conf, "squeue", "-h", "-o", "%i").split() in ([second], [str(int(second) + 1)]))
    logs = {path.name for path in (tmp_path / "jobs").rglob("*-gpu-*.out")}
    assert len(logs) == 3, logs  # the first, its successor, and one more while there was work for four


def workers_of_a_new_job(cluster: Cluster, before: Sequence[str] = ()) -> str:
    """Wait until there are two workers and both belong to one job that is none of those before; returns its number."""
    found: list[str] = []

    def there() -> bool:
        found[:] = [answer.name for answer in ask_workers(cluster.client, dict)]
        return len(found) == 2 and not {name.split("-")[1] for name in found} & set(before)

    wait_until(there)
    job = found[0].split("-")[1]
    assert found == [f"gpu-{job}-0", f"gpu-{job}-1"]
    return job


def looked(dask_worker: Any) -> tuple[str, int, str, bool]:
    """Runs on a worker: its GPUs, its memory limit, the threads of a task, and whether our plugin was there."""
    manager = dask_worker.memory_manager
    there = manager.memory_spill_fraction is False and manager.memory_target_fraction is False
    return os.environ["CUDA_VISIBLE_DEVICES"], manager.memory_limit, os.environ["MITOSCALE_THREADS"], there


def test_dask_cuda_starts_the_workers_of_a_job_of_several_gpus(conf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU: dask-cuda's own switch for tests leaves out what needs one (CPU affinity, RMM, device memory)."""
    pytest.importorskip("dask_cuda", reason="dask-cuda is not installed: pip install 'mitoscale[cuda]'")
    monkeypatch.setattr("mitoscale.cluster.autoscaling.ROUND_SECONDS", 1.0)
    monkeypatch.setattr("mitoscale.cluster.slurm_script._gpu_check", lambda group, python: [])
    environment = {"DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC": "1", "CUDA_VISIBLE_DEVICES": "0,1"}
    gpu = {"gpus": 2, "memory": "1 GiB", "cpus": 1, "threads": 2, "environment": environment}
    with start(load_cluster(cluster_file(tmp_path, gpu=gpu))) as cluster:
        jobs: list[str] = []
        for _ in range(2):
            jobs.append(job := workers_of_a_new_job(cluster, jobs))
            assert "TresPerNode=gres:gpu:2" in said(conf, "scontrol", "show", "job", job)
            assert sorted(cluster.client.run(looked).values()) == [("0,1", 2**30, "1", True), ("1,0", 2**30, "1", True)]
            assert cluster.placement.of("gpu") == Place(resource="gpu", slots=4)
            results: list[BlockResult] = []
            assert (
                cluster.executor.run(StageTasks("detect", rested, resource="gpu"), row_of_blocks(4), on_result=results.append) == []
            )
            said(conf, "scancel", job)


def test_gpus_that_there_are_not_are_one_clear_line(conf: str, tmp_path: Path) -> None:
    ended = _check(cluster_file(tmp_path, gpu={"gpus": 3, "memory": "1 GiB"}))
    told = "group gpu: the queue refuses its jobs" if find_spec("dask_cuda") else "3 GPUs in a job need dask-cuda"
    assert ended.code == 1 and told in ended.err and len(ended.err.splitlines()) == 1


@pytest.mark.skipif(find_spec("pynvml") is None, reason="nvidia-ml-py is not installed: pip install 'mitoscale[cuda]'")
@pytest.mark.skipif(bool(found_gpus()), reason="this machine has a GPU")
@pytest.mark.parametrize("gpus", [1, 2] if find_spec("dask_cuda") else [1])
def test_a_job_without_its_gpus_says_so_in_its_log_and_here(gpus: int, conf: str, tmp_path: Path) -> None:
    """This SLURM gives out GPUs that do not exist."""
    file = cluster_file(tmp_path, io={"memory": "1 GiB"}, gpu={"gpus": gpus, "memory": "1 GiB", "workers": 5 * gpus})
    ended = finish(begin("cluster", "check", file, "--wait", "90"))
    line = f"mitoscale: the job sees 0 NVIDIA GPUs, and its group asks for gpus: {gpus}"
    logs = [path.read_text() for path in (tmp_path / "jobs").rglob("*-gpu-*.err")]
    assert len(logs) >= 5 and all(line in text for text in logs)
    assert ended.code == 4 and line in ended.err, ended.err


def rested(key: Block) -> BlockResult:
    """Takes a second."""
    time.sleep(1)
    return BlockResult(name=key.name)


def test_the_run_itself_as_a_job(conf: str, stack: Stack, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "job.log"
    file = cluster_file(tmp_path, io={"workers": 1, "memory": "1 GiB"})
    small = ["--parsable", "--mem=2G", "--cpus-per-task=1", f"--output={log}", f"--export=ALL,CLUSTER={file}"]
    options = stack.exact()
    at = options.index("--workers")
    options = [*options[:at], *options[at + 2 :]]
    job = said(conf, "sbatch", *small, str(ROOT / "jobs" / "slurm" / "run.sbatch"), stack.image, str(run), *options).strip()
    assert job.isdigit()
    wait_until(lambda: "JobState=COMPLETED" in said(conf, "scontrol", "show", "job", job) or _failed(conf, job), seconds=240)
    assert "ExitCode=0:0" in said(conf, "scontrol", "show", "job", job), log.read_text()
    assert "objects " in log.read_text() and (run / "report.html").is_file()
    assert np.array_equal(renamed(labels_of(str(run))), renamed(stack.phantom.labels))


def _failed(conf: str, job: str) -> bool:
    return "JobState=FAILED" in said(conf, "scontrol", "show", "job", job)


def test_cluster_check_shows_the_jobs_and_the_dashboard_stays_on_this_machine(conf: str, tmp_path: Path) -> None:
    file = cluster_file(tmp_path, io={"workers": 1, "memory": "1 GiB"}, gpu={"adaptive": {"min": 0, "max": 2}, "memory": "1 GiB"})
    ended = finish(begin("cluster", "check", file, "--store", str(tmp_path / "runs")))
    assert ended.code == 0, ended.err
    rows = [line.split()[:2] for line in ended.out.splitlines() if line.startswith(("io-", "gpu-"))]
    assert sorted(group for _, group in rows) == ["gpu", "io"]
    assert "dashboard  http://127.0.0.1:" in ended.out


def test_what_the_queue_refuses_is_one_clear_line(conf: str, tmp_path: Path) -> None:
    file = cluster_file(tmp_path, io={"memory": "1 GiB", "queue": {"partition": "moon"}})
    ended = _check(file)
    assert ended.code == 1 and "group io: the queue refuses its jobs" in ended.err and "partition" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_jobs_that_cannot_start_stop_the_run_and_not_the_queue(conf: str, tmp_path: Path) -> None:
    phantom = make_phantom((16, 64, 64), objects=2, seed=1)
    write_tiff(str(tmp_path / "phantom.tif"), phantom.image, phantom.spacing)
    file = cluster_file(tmp_path, io={"workers": 5, "memory": "1 GiB", "queue": {"prologue": ["exit 1"]}})
    ended = finish(begin("run", str(tmp_path / "phantom.tif"), str(tmp_path / "run"), "--segmenter", "unet", "--cluster", file))
    assert ended.code == 4, ended.err
    assert "5 jobs of group io ended before their workers came; see the logs in" in ended.err
    assert len(list((tmp_path / "jobs").rglob("*.out"))) == 5


def test_without_slurm_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = _check(cluster_file(tmp_path, io={"memory": "1 GiB"}))
    assert ended.code == 1 and "sbatch is not found" in ended.err


def _check(file: str) -> Ended:
    return finish(begin("cluster", "check", file, "--wait", str(60)))
