"""The job scripts, and how many jobs there should be."""

from __future__ import annotations

import base64
import json
import shlex
import sys
from pathlib import Path

import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.cluster.autoscaling import Demand
from mitoscale.cluster.groups import Adaptive, Group, Queue
from mitoscale.cluster.scheduler import scheduler_with, security_of
from mitoscale.cluster.settings import ClusterSettings, Tls
from mitoscale.cluster.slurm import _new_folder, slurm_cluster, temporary_certificates
from mitoscale.cluster.slurm_jobs import Jobs
from mitoscale.cluster.slurm_script import job_script
from mitoscale.core.errors import InputError

QUEUE = Queue(
    partition="gpu", account="em", walltime="1-00:00:00", directives=("--constraint=a100",), prologue=("module load cuda",)
)


def script(folder: Path, group: Group, **settings: object) -> list[str]:
    made = ClusterSettings.model_validate({"kind": "slurm", "host": "10.0.0.5", "groups": {"gpu": group}, **settings})
    return job_script("gpu", made, "tcp://10.0.0.5:8786", folder).splitlines()


def test_a_job_asks_for_what_its_worker_needs(tmp_path: Path) -> None:
    group = Group(memory="48 GiB", threads=3, gpus=1, cpus=8, queue=QUEUE, environment={"NAME": "a b"})
    lines = script(tmp_path, group, threads=2, dask={"distributed.worker.memory.pause": 0.7})
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    for expected in ("-p gpu", "-A em", "-t 1-00:00:00", "--cpus-per-task=8", "--mem=48G", "--gres=gpu:1", "--constraint=a100"):
        assert expected in directives
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[0] == "module load cuda"
    assert commands[-2] == f"{sys.executable} -m mitoscale.cluster.job_gpus 1 || exit 1"
    exported = dict(shlex.split(line)[1].split("=", 1) for line in commands if line.startswith("export "))
    assert exported["NAME"] == "a b" and exported["MITOSCALE_THREADS"] == exported["OPENBLAS_NUM_THREADS"] == "2"
    inherited = json.loads(base64.urlsafe_b64decode(exported["DASK_INTERNAL_INHERIT_CONFIG"]))
    assert inherited["distributed"]["worker"]["memory"] == {"target": False, "spill": False, "pause": 0.7}
    worker = shlex.split(commands[-1])
    assert worker[worker.index("--name") + 1] == "gpu-$SLURM_JOB_ID"
    assert worker[worker.index("--resources") + 1] == "gpu=3" and worker[worker.index("--nthreads") + 1] == "3"
    assert worker[:4] == [sys.executable, "-m", "distributed.cli.dask_worker", "tcp://10.0.0.5:8786"]
    assert "--nanny" in worker and "--nworkers" not in worker
    assert worker[worker.index("--no-dashboard") + 1 :][:2] == ["--dashboard-address", "127.0.0.1:0"]


FOUR = Group(memory="48 GiB", threads=3, gpus=4, cpus=8, workers=8, worker_options=("--rmm-pool-size=16GB",))


def test_a_job_of_several_gpus_starts_a_worker_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.cluster.slurm_script.find_spec", lambda name: name == "dask_cuda" or None)
    lines = script(tmp_path, FOUR)
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    for expected in ("-n 1", "--cpus-per-task=32", "--mem=192G", "--gres=gpu:4"):
        assert expected in directives
    assert lines[-2] == f"{sys.executable} -m mitoscale.cluster.job_gpus 4 || exit 1"
    worker = shlex.split(lines[-1])
    assert worker[:4] == [sys.executable, "-m", "dask_cuda.cli", "tcp://10.0.0.5:8786"]
    found = {option: worker[worker.index(option) + 1] for option in worker[4:-1] if option.startswith("--") and "=" not in option}
    assert found["--nthreads"] == "3" and found["--resources"] == "gpu=3" and found["--memory-limit"] == "48.00GiB"
    assert found["--name"] == "gpu-$SLURM_JOB_ID" and worker[-1] == "--rmm-pool-size=16GB"
    assert not {"--nanny", "--nworkers"} & set(worker)  # dask-cuda has neither


def test_dask_cuda_takes_every_option_of_the_command(tmp_path: Path) -> None:
    """What it makes of them needs a GPU: here they are parsed by its own command and nothing is started."""
    cli = pytest.importorskip("dask_cuda.cli", reason="dask-cuda is not installed: pip install 'mitoscale[cuda]'")
    files = {role: str(tmp_path / f"{role}.pem") for role in ("ca", "certificate", "key")}
    for file in files.values():
        Path(file).touch()
    command = shlex.split(script(tmp_path, FOUR, tls=Tls(**files))[-1])
    given = cli.worker.make_context("worker", command[3:]).params
    assert not given.pop("preload_argv")  # where options that it does not know would go
    expected = {"scheduler": "tcp://10.0.0.5:8786", "name": "gpu-$SLURM_JOB_ID", "nthreads": 3, "resources": "gpu=3"}
    expected |= {"memory_limit": "48.00GiB", "rmm_pool_size": "16GB", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    expected |= {"tls_ca_file": files["ca"], "tls_cert": files["certificate"], "tls_key": files["key"]}
    assert {name: given[name] for name in expected} == expected


def test_a_job_of_several_gpus_needs_dask_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.cluster.slurm_script.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"groups.gpu.gpus: 4 GPUs in a job need dask-cuda: pip install 'mitoscale\[cuda\]'"):
        script(tmp_path, FOUR)
    assert script(tmp_path, FOUR.model_copy(update={"gpus": 1, "workers": 1}))  # one needs nothing


def test_a_job_of_several_workers_asks_for_what_all_of_them_need(tmp_path: Path) -> None:
    lines = script(tmp_path, Group(memory="4 GiB", threads=2, workers_per_job=3), threads=2)
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert "--cpus-per-task=12" in directives and "--mem=12G" in directives
    worker = shlex.split(lines[-1])
    found = {option: worker[worker.index(option) + 1] for option in ("--nworkers", "--nthreads", "--memory-limit", "--resources")}
    assert found == {"--nworkers": "3", "--nthreads": "2", "--memory-limit": "4.00GiB", "--resources": "gpu=2"}
    assert not any("job_gpus" in line for line in lines)


def test_without_wishes_the_queue_decides(tmp_path: Path) -> None:
    lines = script(tmp_path, Group(memory="4 GiB"), threads=2)
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert {d.split()[0].split("=")[0] for d in directives} == {"-J", "-e", "-o", "-n", "--cpus-per-task", "--mem", "--no-requeue"}
    assert "--cpus-per-task=2" in directives


def test_certificates_go_along(tmp_path: Path) -> None:
    files = {role: str(tmp_path / f"my {role}.pem") for role in ("ca", "certificate", "key")}
    for file in files.values():
        Path(file).touch()
    worker = shlex.split(script(tmp_path, Group(memory="4 GiB"), tls=Tls(**files))[-1])
    found = {option: worker[worker.index(option) + 1] for option in ("--tls-ca-file", "--tls-cert", "--tls-key")}
    assert found == {"--tls-ca-file": files["ca"], "--tls-cert": files["certificate"], "--tls-key": files["key"]}


def test_certificates_are_made_for_the_run_alone_and_for_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(0o700)
    given = {"kind": "slurm", "host": "localhost", "dashboard": "127.0.0.1:0", "folder": str(tmp_path)}
    settings = ClusterSettings.model_validate({**given, "groups": {"io": Group(memory="1 GiB")}})
    with temporary_certificates(folder) as made, temporary_certificates(_new_folder(settings)) as others:
        for file in (made.ca, made.certificate, made.key):
            assert Path(file).parent == folder and Path(file).stat().st_mode & 0o777 == 0o600
        mine, theirs = (security_of(settings.model_copy(update={"tls": tls})) for tls in (made, others))
        with scheduler_with({}, settings.model_copy(update={"tls": made})) as cluster:
            assert cluster.scheduler_address.startswith("tls://")
            with Client(cluster.scheduler_address, security=mine, timeout=20) as client:
                assert client.scheduler_info()["workers"] == {}
            with pytest.raises(OSError, match=r"(?i)timed out|certificate"):
                Client(cluster.scheduler_address, security=theirs, timeout=3)
    assert not list(tmp_path.rglob("*.pem")), "keys are no use once the run has ended"


def test_slurm_speaks_plain_tcp_only_when_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job script names the address and the certificates it joins with."""
    scripts: dict[str, str] = {}

    def stop(found: dict[str, str], folder: Path, per_job: dict[str, int]) -> None:
        scripts.update(found)
        raise InterruptedError

    monkeypatch.setattr("mitoscale.cluster.slurm.Jobs", stop)
    given = {"kind": "slurm", "host": "localhost", "dashboard": "127.0.0.1:0", "folder": str(tmp_path)}
    for tls, scheme in (({}, "tls://"), ({"tls": "plain tcp"}, "tcp://")):
        settings = ClusterSettings.model_validate({**given, "groups": {"io": Group(memory="4 GiB")}, **tls})
        with pytest.raises(InterruptedError), slurm_cluster(settings):
            pass
        worker = shlex.split(scripts["io"].splitlines()[-1])
        assert any(part.startswith(scheme) for part in worker)
        assert ("--tls-key" in worker) is (scheme == "tls://")
    assert not list(tmp_path.rglob("*.pem"))


def test_a_missing_certificate_is_told_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file"):
        script(tmp_path, Group(memory="4 GiB"), tls=Tls(ca="/none", certificate="/none", key="/none"))


loads = st.lists(st.tuples(st.integers(0, 100), st.floats(0.1, 100)), min_size=1, max_size=30)


@given(least=st.integers(0, 5), more=st.integers(1, 10), tasks=st.integers(1, 4), gpus=st.integers(0, 4), loads=loads)
def test_demand_keeps_its_limits_grows_at_once_and_shrinks_late(
    least: int, more: int, tasks: int, gpus: int, loads: list[tuple[int, float]]
) -> None:
    per_job = max(gpus, 1)
    least, most = least * per_job, (least + more) * per_job
    demand = Demand(Group(threads=tasks, gpus=gpus, adaptive=Adaptive(min=least, max=most, idle="30 s")))
    now, before, needed_at = 0.0, least, -1e9
    for load, seconds in loads:
        now += seconds
        needed = min(max(-(-load // (tasks * per_job)) * per_job, least), most)
        there = demand.workers(load, now)
        assert needed <= there <= most
        assert there % per_job == 0 and there * tasks >= min(load, most * tasks)
        assert there in (before, needed)
        if there < before:
            assert now - needed_at >= 30
        if needed >= before:
            needed_at = now
        before = there


@given(load=st.integers(0, 1000))
def test_without_limits_the_number_stays(load: int) -> None:
    assert Demand(Group(workers=3)).workers(load, 0.0) == 3


def test_scripts_are_for_their_owner_alone(tmp_path: Path) -> None:
    given = {"kind": "slurm", "host": "10.0.0.5", "folder": str(tmp_path / "shared"), "groups": {"gpu": Group(memory="4 GiB")}}
    folder = _new_folder(ClusterSettings.model_validate(given))
    Jobs({"gpu": "export TOKEN=secret"}, folder, {"gpu": 1})
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "gpu.sh").stat().st_mode & 0o777 == 0o600
