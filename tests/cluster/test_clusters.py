"""What cluster.yaml may say, and that a cluster leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from mitoscale.cluster.clusters import ClusterSettings, default_workers, load_cluster, start
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


def test_every_name_is_read(tmp_path: Path) -> None:
    text = "kind: local\nworkers: 3\nthreads: 2\nmemory: 4 GiB\ndashboard: localhost:9000\nworker_ttl: 60 s\n"
    assert load_cluster(written(tmp_path, text)) == ClusterSettings(
        workers=3, threads=2, memory="4 GiB", dashboard="localhost:9000", worker_ttl="60 s"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: slurm", "'slurm' is not supported; this version knows local"),
        ("kind: [local]", "is not supported"),
        ("wrokers: 4", "wrokers.*known names are kind, workers, threads"),
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
    ],
)
def test_what_is_not_understood_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load_cluster(written(tmp_path, text))
    assert "cluster.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_cluster(str(tmp_path / "none.yaml"))


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
    gone, alive = psutil.wait_procs([p for p in workers if "resource_tracker" not in " ".join(_command(p))], timeout=10)
    assert gone and not alive
    assert list(tmp_path.iterdir()) == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


_INTERRUPTED = """
import sys
from block_tasks import row_of_blocks, timed
from mitoscale.cluster.clusters import ClusterSettings, start

if __name__ == "__main__":
    try:
        with start(ClusterSettings(workers=2, memory="512 MiB", dashboard="127.0.0.1:0")) as cluster:
            print("running", flush=True)
            cluster.executor.run("detect", timed, row_of_blocks(100_000), on_result=lambda result: None)
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
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    assert list(scratch.glob("mitoscale-*")) == []
