"""What Kubernetes and the Dask operator are told, checked against the operator's own schemas; no cluster is tried."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mitoscale.cluster.autoscaling import State
from mitoscale.cluster.cluster_file import load_cluster
from mitoscale.cluster.groups import Adaptive, Group
from mitoscale.cluster.kubernetes import Pods, manifests
from mitoscale.cluster.settings import ClusterSettings, Kubernetes

JOBS = Path(__file__).parents[2] / "jobs" / "kubernetes"

_OPERATOR = importlib.util.find_spec("dask_kubernetes")

needs_schemas = pytest.mark.skipif(
    _OPERATOR is None or importlib.util.find_spec("jsonschema") is None,
    reason="the operator's schemas are not installed (pip install dask-kubernetes jsonschema)",
)

SETTINGS = ClusterSettings(
    kind="kubernetes",
    threads=2,
    kubernetes=Kubernetes(image="lab/mitoscale:1", claim="em", mount="/em", namespace="lab", name="brain"),
    groups={
        "io": Group(workers=3, memory="8 GiB"),
        "gpu": Group(adaptive=Adaptive(min=0, max=16), gpus=1, memory="48 GiB", environment={"LEVEL": "3"}),
    },
    dask={"distributed.comm.timeouts.connect": "60 s"},
)


@lru_cache
def schema(kind: str) -> dict[str, Any]:
    """The operator's schema of a kind, strict: names it does not know are refused."""
    assert _OPERATOR is not None and _OPERATOR.submodule_search_locations
    (found,) = Path(_OPERATOR.submodule_search_locations[0]).rglob(f"crds/{kind.lower()}.yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # half a megabyte
    version = yaml.load(found.read_text(), Loader=loader)["spec"]["versions"][0]
    return strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


def strict(part: Any) -> Any:
    if isinstance(part, list):
        return [strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {name: strict(value) for name, value in part.items()}
    if isinstance(part.get("properties"), dict) and not part.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def check(part: Any, against: dict[str, Any]) -> None:
    import jsonschema

    jsonschema.Draft7Validator(against).validate(part)


@needs_schemas
def test_manifests_are_what_the_operator_understands() -> None:
    made = manifests(SETTINGS)
    assert [(m["kind"], m["metadata"]["name"]) for m in made] == [("DaskCluster", "brain"), ("DaskWorkerGroup", "brain-gpu")]
    for manifest in made:
        assert manifest["apiVersion"] == "kubernetes.dask.org/v1" and manifest["metadata"]["namespace"] == "lab"
        check(manifest["spec"], schema(manifest["kind"]))


@needs_schemas
def test_the_schema_would_find_a_mistake() -> None:
    import jsonschema

    for change in ({"replicsa": 3}, {"replicas": "three"}):
        (made, _) = manifests(SETTINGS)
        made["spec"]["worker"] |= change
        with pytest.raises(jsonschema.ValidationError):
            check(made["spec"], schema("DaskCluster"))


def test_workers_offer_their_group_and_ask_for_what_they_need() -> None:
    cluster, gpu = (m["spec"] for m in manifests(SETTINGS))
    (worker,) = gpu["worker"]["spec"]["containers"]
    assert worker["command"][:5] == ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--no-dashboard"]
    options = dict(zip(worker["command"][5::2], worker["command"][6::2], strict=True))
    assert options["--resources"] == "gpu=2" and options["--nthreads"] == "2"
    assert options["--memory-limit"] == str(48 * 2**30)
    assert worker["resources"]["limits"] == {"cpu": "4", "memory": str(48 * 2**30), "nvidia.com/gpu": "1"}
    assert worker["volumeMounts"] == [{"name": "store", "mountPath": "/em"}]
    variables = {v["name"]: v["value"] for v in worker["env"]}
    assert variables["MITOSCALE_THREADS"] == "2" and variables["LEVEL"] == "3"
    (scheduler,) = cluster["scheduler"]["spec"]["containers"]
    assert scheduler["command"][:2] == ["dask", "scheduler"]  # and no args: the image's own entry point is mitoscale
    assert "args" not in worker and "args" not in scheduler
    inherited = next(v["value"] for v in scheduler["env"] if v["name"] == "DASK_INTERNAL_INHERIT_CONFIG")
    settings = json.loads(base64.urlsafe_b64decode(inherited))["distributed"]
    assert settings["scheduler"]["allowed-failures"] == 2 and settings["comm"]["timeouts"]["connect"] == "60 s"
    assert cluster["worker"]["replicas"] == 3 and gpu["worker"]["replicas"] == 0
    assert "nvidia.com/gpu" not in cluster["worker"]["spec"]["containers"][0]["resources"]["limits"]


@needs_schemas
def test_a_pod_of_several_gpus_has_a_worker_for_each() -> None:
    group = Group(workers=8, gpus=4, memory="48 GiB", cpus=8, worker_options=("--rmm-pool-size=16GB",))
    settings = SETTINGS.model_copy(update={"groups": {**SETTINGS.groups, "gpu": group}})
    spec = manifests(settings)[1]["spec"]
    check(spec, schema("DaskWorkerGroup"))
    (container,) = spec["worker"]["spec"]["containers"]
    assert spec["worker"]["replicas"] == 2
    assert container["resources"]["limits"] == {"cpu": "32", "memory": str(192 * 2**30), "nvidia.com/gpu": "4"}
    shell, command = container["command"][:3], container["command"][3:]
    assert shell == ["sh", "-c", 'python -m mitoscale.cluster.job_gpus 4 && exec "$@"']
    assert command[:6] == ["sh", "dask", "cuda", "worker", "--name", "$(DASK_WORKER_NAME)"]
    options = dict(zip(command[7:-1:2], command[8:-1:2], strict=True))
    assert options == {"--nthreads": "2", "--memory-limit": str(48 * 2**30), "--resources": "gpu=2", "--death-timeout": "600"}
    assert command[-1] == "--rmm-pool-size=16GB"


def test_the_command_of_a_pod_of_several_gpus_runs_what_follows_the_check(tmp_path: Path) -> None:
    """By a real shell, with stand-ins for python and dask that print what they get."""
    for name, code in (("python", 0), ("dask", 0)):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\nexit {code}\n')
        (tmp_path / name).chmod(0o755)
    group = Group(workers=4, gpus=4, memory="1 GiB")
    settings = SETTINGS.model_copy(update={"groups": {"gpu": group}})
    (container,) = manifests(settings)[0]["spec"]["worker"]["spec"]["containers"]
    environment = {"PATH": f"{tmp_path}:/bin:/usr/bin"}
    said = subprocess.run(container["command"], env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "python -m mitoscale.cluster.job_gpus 4" and said[1].startswith("dask cuda worker --name $(DASK")
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    ended = subprocess.run(container["command"], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and not ended.stdout


class Sizes:
    """Stands for the operator: remembers what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def scale(self, number: int, worker_group: str) -> None:
        self.asked.append((worker_group, number))


def test_groups_are_resized_only_when_their_number_changes() -> None:
    operator = Sizes()
    told: list[tuple[int, Mapping[str, int]]] = []
    pods = Pods(operator, {"io": 1, "gpu": 2}, lambda wanted: told.append((len(operator.asked), wanted)))
    for gpus, there in ((0, 0), (4, 3), (4, 7)):
        state = State(load={}, idle={f"w{i}": True for i in range(there)})
        assert pods.keep({"io": 3, "gpu": gpus}, state) == []
        assert pods.more_to_come() is (there < 3 + gpus)
    assert operator.asked == [("default", 3), ("gpu", 0), ("gpu", 2)]
    assert told == [(0, {"io": 3, "gpu": 0}), (2, {"io": 3, "gpu": 4})], "the scheduler knows before the operator asks it"


def test_the_job_is_whole(tmp_path: Path) -> None:
    parts = {part["kind"]: part for part in yaml.safe_load_all((JOBS / "run.yaml").read_text())}
    (tmp_path / "cluster.yaml").write_text(parts["ConfigMap"]["data"]["cluster.yaml"])
    settings = load_cluster(str(tmp_path / "cluster.yaml"))
    assert settings.kubernetes is not None
    pod = parts["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == settings.kubernetes.image
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == settings.kubernetes.claim
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert mounts["store"] == settings.kubernetes.mount and container["command"][-1] == f"{mounts['settings']}/cluster.yaml"
    assert {v["name"] for v in pod["volumes"]} == set(mounts)
    assert pod["serviceAccountName"] == parts["ServiceAccount"]["metadata"]["name"] == parts["RoleBinding"]["subjects"][0]["name"]
    assert parts["RoleBinding"]["roleRef"]["name"] == parts["Role"]["metadata"]["name"]
    assert container["name"] == parts["Job"]["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"]


@needs_schemas
def test_the_jobs_pod_is_what_kubernetes_understands() -> None:
    parts = {part["kind"]: part for part in yaml.safe_load_all((JOBS / "run.yaml").read_text())}
    pod = schema("DaskCluster")["properties"]["worker"]["properties"]["spec"]  # the operator's schema holds that of any pod
    check(parts["Job"]["spec"]["template"]["spec"], pod)


def test_without_the_library_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from mitoscale.cluster.clusters import start
    from mitoscale.core.errors import InputError

    monkeypatch.setitem(sys.modules, "dask_kubernetes", None)
    monkeypatch.setitem(sys.modules, "dask_kubernetes.operator", None)
    with pytest.raises(InputError, match=r"pip install 'mitoscale\[kubernetes\]'"), start(SETTINGS):
        pass
