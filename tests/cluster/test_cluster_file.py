"""What cluster.yaml may say, and what it is told where it says something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from mitoscale.cluster.cluster_file import load_cluster
from mitoscale.cluster.configuration import configuration, dotted, worker_configuration
from mitoscale.cluster.groups import Adaptive, Group, Queue
from mitoscale.cluster.local import default_workers
from mitoscale.cluster.settings import ClusterSettings, Kubernetes, Tls
from mitoscale.core.errors import InputError

ROOT = Path(__file__).parents[2]


def written(folder: Path, text: str) -> str:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return str(path)


def test_without_a_file_the_machine_decides() -> None:
    assert load_cluster(None) == ClusterSettings()
    assert 1 <= default_workers() <= len(os.sched_getaffinity(0))
    assert default_workers(threads=10_000) == 1


def test_the_example_says_the_defaults() -> None:
    assert load_cluster(str(ROOT / "cluster.yaml")) == ClusterSettings()


def test_an_empty_file_says_the_defaults(tmp_path: Path) -> None:
    assert load_cluster(written(tmp_path, "# nothing\n")) == ClusterSettings()


def test_the_short_form_is_one_group(tmp_path: Path) -> None:
    text = "kind: local\nworkers: 3\nthreads: 2\nmemory: 4 GiB\ndashboard: localhost:9000\nworker_ttl: 60 s\n"
    settings = load_cluster(written(tmp_path, text))
    assert settings == ClusterSettings(workers=3, threads=2, memory="4 GiB", dashboard="localhost:9000", worker_ttl="60 s")
    assert settings.all_groups == {"io": Group(workers=3, memory="4 GiB")}
    assert load_cluster(written(tmp_path, "kind: cuda")).all_groups == {"gpu": Group(gpus=1)}


SLURM = """
kind: slurm
host: 10.0.0.5
folder: /shared/me
tls: {ca: ca.pem, certificate: me.pem, key: me.key}
groups:
  io: {workers: 4, memory: 8 GiB, queue: {partition: cpu, walltime: "12:00:00", prologue: [module load python]}}
  gpu:
    adaptive: {min: 1, max: 16, idle: 5 minutes}
    threads: 3
    gpus: 1
    cpus: 8
    memory: 48 GiB
    queue: {partition: gpu, account: em, directives: [--constraint=a100]}
    environment: {NCCL_DEBUG: WARN, LEVEL: 3}
"""


def test_every_name_of_a_queue_is_read(tmp_path: Path) -> None:
    settings = load_cluster(written(tmp_path, SLURM))
    assert settings.tls == Tls(ca="ca.pem", certificate="me.pem", key="me.key")
    gpu = settings.groups["gpu"]
    assert gpu.adaptive == Adaptive(min=1, max=16, idle="5 minutes")
    assert (gpu.tasks, gpu.least, gpu.most, gpu.cpus) == (3, 1, 16, 8)
    assert gpu.queue == Queue(partition="gpu", account="em", directives=("--constraint=a100",))
    assert gpu.environment == {"NCCL_DEBUG": "WARN", "LEVEL": "3"}
    assert settings.groups["io"].tasks == 1 and Group(gpus=1).tasks == 2


def test_every_name_of_kubernetes_is_read(tmp_path: Path) -> None:
    text = "kind: kubernetes\nkubernetes: {image: me/mitoscale:1, claim: em, namespace: lab}\n"
    text += "groups: {io: {workers: 2, memory: 8 GiB}}"
    settings = load_cluster(written(tmp_path, text))
    assert settings.kubernetes == Kubernetes(image="me/mitoscale:1", claim="em", namespace="lab")


def test_workers_of_the_command_line_are_those_of_the_group_that_does_most() -> None:
    assert ClusterSettings().with_workers(3).all_groups["io"].workers == 3
    groups = {"io": Group(workers=1), "gpu": Group(workers=1, threads=2)}
    changed = ClusterSettings(groups=groups).with_workers(5).groups
    four = ClusterSettings(kind="slurm", host="10.0.0.5", groups={"gpu": Group(gpus=4, memory="1 GiB")})
    assert (four.expected, four.with_workers(8).expected) == (4, 8)  # one job, two
    with pytest.raises(InputError, match="--workers 6: a job of group gpu has 4 workers; give a multiple of 4"):
        four.with_workers(6)
    with pytest.raises(InputError, match="--workers 3: kind address takes the workers as they are"):
        ClusterSettings(kind="address", address="tcp://h:1").with_workers(3)
    assert changed["gpu"] == Group(workers=5, threads=2) and changed["io"] == groups["io"]


def test_dask_settings_nested_or_dotted_leave_their_neighbours_alone(tmp_path: Path) -> None:
    text = "dask: {distributed: {worker: {memory: {pause: 0.7}}}, distributed.comm.timeouts.connect: 60 s}"
    settings = load_cluster(written(tmp_path, text))
    merged = configuration(settings)
    assert merged["distributed.worker.memory.pause"] == worker_configuration(settings)["distributed.worker.memory.pause"] == 0.7
    assert merged["distributed.comm.timeouts.connect"] == "60 s"
    assert merged["distributed.worker.memory.spill"] is False
    assert merged["distributed.scheduler.worker-ttl"] == "30 minutes"
    assert dotted({"a": {}}) == {"a": {}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("workers: 2\nworkers: 3", r"line 2: workers is there twice"),
        ("dask: {distributed.comm.timeouts.conect: 60 s}", "no setting distributed.comm.timeouts.conect; is .*connect meant"),
        ("dask: {distributed: {nosuch: {setting: 5}}}", "no setting distributed.nosuch.setting"),
        ("kind: slurm\nhost: 127.0.0.1", "127.0.0.1 is the machine's own"),
        ("kind: pbs", "'pbs' is not supported; this version knows local, cuda, slurm, kubernetes, address"),
        ("kind: [local]", "is not supported"),
        ("wrokers: 4", "wrokers.*known names are kind, threads, workers"),
        ("workers: 0", "workers.*greater than or equal to 1"),
        ("workers: many", "workers.*valid integer"),
        ("threads: -1", "threads"),
        ("memory: lots", "'lots' is no amount of memory"),
        ("memory: 1 MiB", "at least 512 MiB"),
        ("worker_ttl: soon", "'soon' is no time"),
        ("dashboard: 127.0.0.1", "is not HOST:PORT"),
        ("dashboard: 127.0.0.1:99999", "is not HOST:PORT"),
        ("- kind", "must hold names and values"),
        ("kind: 'local", "is no YAML"),
        ("groups: {cpu: {workers: 1}}", "groups.cpu: Input should be 'io', 'gpu' or 'train'"),
        ("groups: {io: {wrokers: 1}}", "groups.io.wrokers.*known names are workers, threads, memory, gpus"),
        ("groups: {io: {memory: 5 bananas}}", "groups.io.memory.*no amount of memory"),
        ("groups: {io: {workers: 1}}\nworkers: 2", "in each of groups, not beside them"),
        ("groups: {gpu: {gpus: 1}}", "groups.gpu.gpus: kind local uses no GPU; write kind: cuda"),
        ("groups: {io: {adaptive: {max: 3}}}", "only slurm and kubernetes grow and shrink"),
        ("groups: {io: {adaptive: {max: 3}, workers: 2}}", "either workers or adaptive"),
        ("groups: {io: {queue: {partition: cpu}}}", "only kind slurm has a queue"),
        ("groups: {io: {environment: {'A B': 1}}}", "no name of an environment variable"),
        ("kind: cuda\ngroups: {io: {workers: 1}}", "needs a group with gpus: 1"),
        (
            "kind: cuda\ngroups: {gpu: {gpus: 2}}",
            "groups.gpu.gpus: a worker of kind cuda has one GPU; write gpus: 1 and workers: 2",
        ),
        ("kind: slurm\nhost: h\ngroups: {train: {gpus: 2, memory: 1 GiB}}", "groups.train.gpus: a training computes on one GPU"),
        ("groups: {gpu: {gpus: -1}}", "groups.gpu.gpus: Input should be greater than or equal to 0"),
        ("groups: {gpu: {gpus: 4, workers: 6}}", "groups.gpu: workers 6 is no multiple of 4, the workers of a job"),
        ("groups: {gpu: {gpus: 4, adaptive: {max: 6}}}", "groups.gpu: adaptive.max 6 is no multiple of 4"),
        ("groups: {io: {workers_per_job: 4, adaptive: {min: 2, max: 8}}}", "groups.io: adaptive.min 2 is no multiple of 4"),
        ("groups: {gpu: {gpus: 4, workers_per_job: 2}}", "workers_per_job 2: each GPU has one worker; leave it out with gpus: 4"),
        ("groups: {io: {workers_per_job: 2}}", "groups.io.workers_per_job: only kind slurm has jobs"),
        ("groups: {io: {worker_options: [--lifetime=1h]}}", "groups.io.worker_options: only slurm and kubernetes start workers"),
        (
            "kind: kubernetes\nkubernetes: {image: x, claim: y}\ngroups: {gpu: {gpus: 4, memory: 1 GiB, adaptive: {max: 8}}}",
            "groups.gpu.adaptive: the Dask operator takes pods back by the name of their only worker.*give gpus: 1, or workers",
        ),
        ("kind: slurm\ngroups: {io: {memory: 1 GiB}}", "needs host: an address of this machine"),
        ("kind: slurm\nhost: 10.0.0.1", "groups.io.memory: kind slurm needs to know how much memory"),
        ("kind: slurm\nhost: h\ngroups: {io: {memory: 1 GiB, adaptive: {min: 3, max: 2}}}", "min 3 is more than max 2"),
        ("kind: slurm\nhost: h\ngroups: {io: {memory: 1 GiB, queue: {walltime: soon}}}", "groups.io.queue.walltime"),
        ("kind: slurm\nhost: h\ngroups: {io: {memory: 1 GiB, queue: {part: x}}}", "queue.part.*known names are partition"),
        ("kind: kubernetes", "needs kubernetes: image and claim"),
        ("kubernetes: {image: x, claim: y}", "other kinds have none"),
        ("kind: address", "needs the address of the running scheduler"),
        ("address: tcp://h:8786", "other kinds have none"),
        ("kind: address\naddress: h:8786", "is not tcp://HOST:PORT or tls://HOST:PORT"),
        ("kind: address\naddress: tcp://h:99999", "is not tcp://HOST:PORT or tls://HOST:PORT"),
        ("kind: address\naddress: tls://h:8786", "tls://h:8786 lacks tls: ca, certificate, key"),
        ("kind: address\naddress: tcp://h:1\ntls: {ca: a, certificate: b, key: c}", "is not encrypted"),
        ("kind: address\naddress: tcp://h:1\nworkers: 3", "takes the workers as they are"),
        ("tls: {ca: a}", "tls.certificate: Field required"),
    ],
)
def test_what_is_not_understood_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load_cluster(written(tmp_path, text))
    assert "cluster.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_certificates_are_sought_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ca", "me", "key"):
        (tmp_path / f"{name}.pem").touch()
    text = "kind: address\naddress: tls://h:1\ntls: {ca: ca.pem, certificate: me.pem, key: elsewhere.pem}"
    monkeypatch.chdir("/")
    found = load_cluster(written(tmp_path, text)).tls
    assert isinstance(found, Tls) and (found.ca, found.certificate) == (str(tmp_path / "ca.pem"), str(tmp_path / "me.pem"))
    assert found.key == "elsewhere.pem"  # told where the command was started


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_cluster(str(tmp_path / "none.yaml"))


def test_the_examples_in_the_file_are_understood(tmp_path: Path) -> None:
    """What stands behind ``# `` in cluster.yaml is an example of another kind, between two lines of dashes."""
    text = (ROOT / "cluster.yaml").read_text()
    examples = [part for part in text.split("# ---")[1:] if "kind:" in part]
    kinds = set()
    for example in examples:
        lines = [line.removeprefix("#").removeprefix(" ") for line in example.splitlines()[1:]]
        path = tmp_path / "cluster.yaml"
        path.write_text("\n".join(lines))
        assert yaml.safe_load("\n".join(lines))
        kinds.add(load_cluster(str(path)).kind)
    assert kinds == {"local", "cuda", "slurm", "kubernetes", "address"}
