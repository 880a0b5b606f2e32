"""Clusters of this machine: groups, ports, threads, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from block_tasks import row_of_blocks
from distributed import Client

from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.clusters import Cluster, ClusterSettings, start
from mitoscale.cluster.gpus import gpu_plugins, visible_gpus
from mitoscale.cluster.group_sizes import GroupSizes, set_group_sizes
from mitoscale.cluster.groups import Group
from mitoscale.cluster.job import Tell
from mitoscale.cluster.local import _workers
from mitoscale.cluster.placement import Place
from mitoscale.cluster.settings import Tls
from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.grid import Block
from mitoscale.core.result import BlockResult

ROOT = Path(__file__).parents[2]


def _gpu_names() -> list[str]:
    try:
        return visible_gpus()
    except InputError:
        return []


def test_workers_seldom_look_at_themselves(cluster: Cluster) -> None:
    """Dask's own intervals, 10 and 20 ms, take a tenth of a processor where tasks take seconds."""
    every = cluster.client.run(_intervals)
    assert len(every) == 2 and set(every.values()) == {(100, 500)}


def _intervals(dask_worker: Any) -> tuple[float, float]:
    """Milliseconds between two looks at what the task does, and at how late the loop is."""
    callbacks = dask_worker.periodic_callbacks
    return callbacks["profile"].callback_time, callbacks["tick"].callback_time


def test_a_taken_port_is_no_obstacle_and_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(psutil.Process().children(recursive=True))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = ClusterSettings(workers=1, memory="512 MiB", dashboard=f"127.0.0.1:{port}")
        with pytest.raises(RuntimeError, match="in the middle"), start(settings) as cluster:
            assert cluster.workers == 1
            assert cluster.dashboard_link.startswith("http://127.0.0.1:")
            assert f":{port}/" not in cluster.dashboard_link
            assert list(tmp_path.iterdir())
            workers = [p for p in psutil.Process().children(recursive=True) if p not in before]
            assert workers
            raise RuntimeError("in the middle")
    gone, alive = psutil.wait_procs([p for p in workers if "resource_tracker" not in " ".join(_command(p))], timeout=60)
    assert gone and not alive
    assert list(tmp_path.iterdir()) == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


_INTERRUPTED = """
import signal
import sys
from block_tasks import row_of_blocks, timed
from mitoscale.cluster.clusters import ClusterSettings, start

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs would ignore it
    try:
        with start(ClusterSettings(workers=2, memory="512 MiB", dashboard="127.0.0.1:0")) as cluster:
            print("running", flush=True)
            cluster.executor.run(StageTasks("detect", timed), row_of_blocks(100_000), on_result=lambda result: None)
    except KeyboardInterrupt:
        sys.exit(4)
"""


@pytest.mark.slow
def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(_INTERRUPTED)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    paths = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches the whole group, and not this test
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        workers = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 4, errors
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    assert list(scratch.glob("mitoscale-*")) == []


@pytest.fixture(scope="module")
def grouped() -> Iterator[Cluster]:
    groups = {
        "io": Group(workers=1, threads=2, environment={"MITOSCALE_PROBE": "io"}),
        "gpu": Group(workers=1, environment={"MITOSCALE_PROBE": "gpu"}),
    }
    with start(ClusterSettings(threads=2, groups=groups, dashboard="127.0.0.1:0")) as running:
        yield running


def where(key: Block) -> BlockResult:
    """Which group's worker this is, and its threads."""
    return BlockResult(
        name=key.name, checksum=os.environ["MITOSCALE_PROBE"], counts={"threads": int(os.environ["OMP_NUM_THREADS"])}
    )


@pytest.mark.parametrize(("group", "taken_by"), [("io", "io"), ("gpu", "gpu"), ("train", "gpu")])
def test_a_groups_workers_take_its_tasks(grouped: Cluster, group: str, taken_by: str) -> None:
    results: list[BlockResult] = []
    assert grouped.executor.run(StageTasks("detect", where, resource=group), row_of_blocks(6), on_result=results.append) == []
    assert {r.checksum for r in results} == {taken_by}
    assert {r.counts["threads"] for r in results} == {2.0}


def test_the_place_of_a_group_counts_its_threads(grouped: Cluster) -> None:
    assert grouped.placement.of("io") == Place(resource="io", slots=2)
    assert grouped.placement.of("gpu") == grouped.placement.of("train") == Place(resource="gpu", slots=1)
    assert grouped.placement.of(None) == Place(resource=None, slots=3)


def test_tasks_that_nobody_there_can_take_stop_the_run(grouped: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.cluster.placement.NO_WORKER_SECONDS", 0.5)
    monkeypatch.setattr("mitoscale.cluster.task_pool.CHECK_SECONDS", 0.2)
    with pytest.raises(StoppedError, match="no worker that takes moon"):
        grouped.executor.run(StageTasks("detect", where, resource="moon"), row_of_blocks(3), on_result=lambda _: None)
    assert grouped.executor.run(StageTasks("detect", where, resource="gpu"), row_of_blocks(3), on_result=lambda _: None) == []


@pytest.mark.parametrize(
    ("wanted", "leaving"),
    [
        ({"io": 1, "gpu": 0}, ["gpu-0"]),
        ({"io": 0, "gpu": 1}, ["io-0"]),
        ({"io": 1, "gpu": 1}, []),
        ({"io": 0, "gpu": 0}, ["gpu-0", "io-0"]),
    ],
)
def test_only_groups_that_are_too_large_give_workers_back(grouped: Cluster, wanted: dict[str, int], leaving: list[str]) -> None:
    """The question is the Dask operator's own."""
    set_group_sizes(grouped.client, wanted)
    try:
        found = grouped.client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.workers_to_close(n=2, attribute="name"))
    finally:
        grouped.client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.remove_plugin(GroupSizes.name))
    assert sorted(found) == leaving


def test_a_cluster_leaves_dasks_own_scheduler_to_the_caller(grouped: Cluster) -> None:
    assert grouped.workers
    with pytest.raises(ValueError, match="No clients found"):
        Client.current()  # else each dask array of a notebook would be computed by the workers of a run


def test_without_a_gpu_group_io_workers_take_everything(cluster: Cluster) -> None:
    assert {cluster.placement.of(name).resource for name in ("io", "gpu", "train")} == {"io"}


def test_nothing_listens_beyond_this_machine(grouped: Cluster) -> None:
    """Scheduler and dashboard are in this process, nannies too; workers are its children."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [c.laddr for p in processes for c in _connections(p) if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 4  # scheduler, dashboard, two workers at least
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def _connections(process: psutil.Process) -> list:
    try:
        return process.net_connections("inet")
    except psutil.Error:
        return []


@pytest.mark.parametrize(
    "wrong", [{"host": "no.such.host.invalid"}, {"dashboard": "no.such.host.invalid:8787"}, {"host": "192.0.2.77"}]
)
def test_a_place_where_nobody_can_listen_is_one_clear_line(wrong: dict[str, str]) -> None:
    settings = ClusterSettings(**{"workers": 1, "dashboard": "127.0.0.1:0", **wrong})
    with pytest.raises(InputError, match=r"the scheduler cannot be started at .*correct host, port") as caught, start(settings):
        pass
    assert "\n" not in str(caught.value)


def test_a_certificate_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    files = {role: str(tmp_path / role) for role in ("ca", "certificate", "key")}
    for file in files.values():
        Path(file).write_text("nothing")
    with pytest.raises(InputError, match="correct host, port, dashboard or tls") as caught:  # noqa: SIM117
        with start(ClusterSettings(workers=1, dashboard="127.0.0.1:0", tls=Tls(**files))):
            pass
    assert "\n" not in str(caught.value)


def test_kind_cuda_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    if _gpu_names():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(InputError, match=r"no NVIDIA GPU found.*write kind: local"), start(ClusterSettings(kind="cuda")):
        pass


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({}, {"gpu-0": "0", "gpu-1": "1", "gpu-2": "2"}),
        ({"io": Group(workers=1), "gpu": Group(gpus=1, workers=1)}, {"io-0": "", "gpu-0": "0"}),
        ({"gpu": Group(gpus=1), "train": Group(gpus=1)}, {"gpu-0": "0", "gpu-1": "1", "train-0": "2"}),
    ],
)
def test_each_worker_of_kind_cuda_sees_one_gpu(groups: dict, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.cluster.local.visible_gpus", lambda: ["0", "1", "2"])
    monkeypatch.setattr("mitoscale.cluster.local.gpu_plugins", lambda gpu: [f"of {gpu}"])
    workers = _workers(ClusterSettings(kind="cuda", groups=groups))
    assert {name: spec["options"]["env"]["CUDA_VISIBLE_DEVICES"] for name, spec in workers.items()} == expected
    assert {name: spec["options"]["plugins"] for name, spec in workers.items()} == {
        name: [f"of {gpu}"] if gpu else [] for name, gpu in expected.items()
    }


def cores_of_a_worker(client: Any) -> set[int]:
    (cores,) = client.run(lambda: sorted(os.sched_getaffinity(0))).values()
    return set(cores)


def test_a_worker_with_a_gpu_computes_on_the_cpus_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    utils = pytest.importorskip("dask_cuda.utils", reason="dask-cuda is not installed: pip install 'mitoscale[cuda]'")
    allowed = os.sched_getaffinity(0)
    near = max(allowed)
    monkeypatch.setattr("mitoscale.cluster.local.visible_gpus", lambda: ["7"])
    asked = []
    monkeypatch.setattr(utils, "get_cpu_affinity", lambda gpu: asked.append(gpu) or [near, 10_000])
    with start(ClusterSettings(kind="cuda", dashboard="127.0.0.1:0")) as running:
        assert cores_of_a_worker(running.client) == {near}
    assert asked == [7]
    monkeypatch.setattr(utils, "get_cpu_affinity", lambda gpu: [10_000])  # none of them is ours to use
    (plugin,) = gpu_plugins("GPU-84fd49f2")
    assert set(plugin.cores) == allowed


def test_kind_cuda_without_dask_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    monkeypatch.setitem(sys.modules, "dask_cuda.plugins", None)
    with pytest.raises(InputError, match=r"needs dask-cuda: pip install 'mitoscale\[cuda\]'"):
        gpu_plugins("0")


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.cluster.local.visible_gpus", lambda: ["0"])
    with pytest.raises(InputError, match="2 workers want a GPU each, this machine has 1"):
        _workers(ClusterSettings(kind="cuda", groups={"gpu": Group(gpus=1), "train": Group(gpus=1)}))


@pytest.mark.slow
@pytest.mark.skipif(not _gpu_names(), reason="no NVIDIA GPU on this machine")
def test_kind_cuda_has_a_worker_for_each_gpu() -> None:
    with start(ClusterSettings(kind="cuda", dashboard="127.0.0.1:0")) as running:
        seen = running.client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
        assert sorted(seen.values()) == sorted(_gpu_names())
        assert running.placement.of("gpu") == Place(resource="gpu", slots=2 * len(seen))


def test_more_memory_than_the_machine_has_is_shared_out() -> None:
    settings = ClusterSettings(groups={"io": Group(workers=2), "gpu": Group(workers=1, memory="1 GiB")})
    workers = {name: spec["options"] for name, spec in _workers(settings).items()}
    assert list(workers) == ["io-0", "io-1", "gpu-0"]
    assert workers["gpu-0"]["memory_limit"] == "1 GiB"
    share = workers["io-0"]["memory_limit"]
    assert 2 * share + 2**30 <= psutil.virtual_memory().total


def double(number: int, tell: Tell) -> int:
    """A job that tells how it goes."""
    for step in range(3):
        tell({"step": step, "group": os.environ["MITOSCALE_PROBE"]})
    if number < 0:
        raise InputError(f"{number} is below 0")
    return 2 * number


def die(tell: Tell) -> None:
    """A job that needs too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_returns_and_tells(grouped: Cluster) -> None:
    heard: list[dict] = []
    assert grouped.run_job(partial(double, 21), name="train", heard=heard.append) == 42
    assert [m["step"] for m in heard] == [0, 1, 2] and {m["group"] for m in heard} == {"gpu"}


def test_what_a_job_raises_is_raised(grouped: Cluster) -> None:
    with pytest.raises(InputError, match="-1 is below 0"):
        grouped.run_job(partial(double, -1), name="train")


def test_a_job_that_kills_its_workers_is_given_up(grouped: Cluster) -> None:
    with pytest.raises(StoppedError, match="died again and again"):
        grouped.run_job(die, name="train")
    assert grouped.run_job(partial(double, 1), name="train") == 2


def leave_a_mark(folder: str) -> None:
    """What stands for loading models."""
    Path(folder, f"{os.environ['MITOSCALE_PROBE']}-{os.getpid()}").touch()


def marks(folder: Path, count: int) -> list[str]:
    ends = time.monotonic() + 60
    while len(list(folder.iterdir())) < count and time.monotonic() < ends:
        time.sleep(0.1)
    return sorted(path.name for path in folder.iterdir())


def test_models_are_loaded_when_a_worker_starts_and_starts_again(grouped: Cluster, tmp_path: Path) -> None:
    grouped.preload(partial(leave_a_mark, str(tmp_path)))
    (first,) = marks(tmp_path, 1)
    assert first.startswith("gpu-")  # io workers need no models
    os.kill(int(first.removeprefix("gpu-")), signal.SIGKILL)
    again = marks(tmp_path, 2)
    assert len(again) == 2 and all(name.startswith("gpu-") for name in again)


def test_models_that_cannot_be_loaded_are_left_to_the_first_task(grouped: Cluster) -> None:
    grouped.preload(partial(double, -1, print))
    assert grouped.run_job(partial(double, 4), name="train") == 8
