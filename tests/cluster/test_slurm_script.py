"""The job scripts, and how many jobs there should be."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path

import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.cluster.autoscaling import Demand
from mitoscale.cluster.groups import Adaptive, Group, Queue
from mitoscale.cluster.scheduler import scheduler_with, security_of
from mitoscale.cluster.settings import ClusterSettings, Tls
from mitoscale.cluster.slurm import Jobs, _new_folder, job_script, slurm_cluster, temporary_certificates
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
    exported = dict(shlex.split(line)[1].split("=", 1) for line in commands if line.startswith("export "))
    assert exported["NAME"] == "a b" and exported["MITOSCALE_THREADS"] == exported["OPENBLAS_NUM_THREADS"] == "2"
    inherited = json.loads(base64.urlsafe_b64decode(exported["DASK_INTERNAL_INHERIT_CONFIG"]))
    assert inherited["distributed"]["worker"]["memory"] == {"target": False, "spill": False, "pause": 0.7}
    worker = shlex.split(commands[-1])
    assert worker[worker.index("--name") + 1] == "gpu-$SLURM_JOB_ID"
    assert worker[worker.index("--resources") + 1] == "gpu=3" and worker[worker.index("--nthreads") + 1] == "3"
    assert "tcp://10.0.0.5:8786" in worker and "--nanny" in worker


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

    def stop(found: dict[str, str], folder: Path) -> None:
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


@given(least=st.integers(0, 5), more=st.integers(1, 10), tasks=st.integers(1, 4), loads=loads)
def test_demand_keeps_its_limits_grows_at_once_and_shrinks_late(
    least: int, more: int, tasks: int, loads: list[tuple[int, float]]
) -> None:
    demand = Demand(Group(threads=tasks, adaptive=Adaptive(min=least, max=least + more, idle="30 s")))
    now, before, needed_at = 0.0, least, -1e9
    for load, seconds in loads:
        now += seconds
        needed = min(max(-(-load // tasks), least), least + more)
        there = demand.workers(load, now)
        assert needed <= there <= least + more
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
    Jobs({"gpu": "export TOKEN=secret"}, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "gpu.sh").stat().st_mode & 0o777 == 0o600
