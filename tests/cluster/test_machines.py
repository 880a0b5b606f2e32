"""Scheduler and workers on machines of their own, over TCP and TLS: runs complete, also when a worker is cut off half-way."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from by_hand import make_certificates, scheduler, tls_options, workers
from commands import Stack, begin, finish, labels_of, renamed
from namespaces import Machine, machines, why_not

from mitoscale.storage.layout import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=f"no network namespaces: {why_not()}"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (apt-get install openssl)"),
]

PORT = 8786


@pytest.fixture(scope="module")
def three() -> Iterator[list[Machine]]:
    with machines(3) as made:
        yield made


@contextmanager
def cluster_on(three: list[Machine], folder: Path, port: int, tls: dict[str, str] | None = None) -> Iterator[str]:
    """A scheduler on the first machine, a worker on each other; yields a ``cluster.yaml`` that leads there."""
    first, *others = three
    options = tls_options(tls) if tls else []
    # A worker that is silent counts as dead after 20 s instead of half an hour.
    environment = ["env", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=20s"]
    with scheduler(first.address, port, folder, options, [*first.inside, *environment]) as where:
        chosen = [[*options, "--resources", f"{group}=1"] for group in ("io", "io")]
        with workers(where, chosen, folder, [machine.inside for machine in others]):
            path = folder / "cluster.yaml"
            path.write_text(yaml.safe_dump({"kind": "address", "address": where, **({"tls": tls} if tls else {})}))
            yield str(path)


def entries(run: str, stage: str) -> list[dict]:
    path = Path(RunFolder(run).ledger(stage))
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def options_of(stack: Stack, file: str, seconds: str = "0") -> list[str]:
    exact = stack.exact()
    at = exact.index("--workers")
    return [*exact[:at], *exact[at + 2 :], "--segmenter-option", f"seconds={seconds}", "--cluster", file]


def test_a_run_over_tcp(three: list[Machine], stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    with cluster_on(three, tmp_path, PORT) as file:
        ended = finish(begin("run", stack.image, run, *options_of(stack, file)))
    assert ended.code == 0, ended.err
    assert np.array_equal(renamed(labels_of(run)), renamed(stack.phantom.labels))


def test_a_run_over_tls_survives_a_worker_that_is_cut_off(three: list[Machine], stack: Stack, tmp_path: Path) -> None:
    run, tls = str(tmp_path / "run"), make_certificates(tmp_path / "certificates")
    with cluster_on(three, tmp_path, PORT + 10, tls) as file:
        process = begin("run", stack.image, run, *options_of(stack, file, seconds="3"))
        try:
            ends = time.monotonic() + 120
            while not entries(run, "segment"):
                assert time.monotonic() < ends and process.poll() is None, process.communicate(timeout=5)
                time.sleep(0.1)
            three[2].cut()
            there_before = len(entries(run, "segment"))
            ended = finish(process)
        finally:
            process.kill()
    assert ended.code == 0, ended.err
    assert there_before < len(entries(run, "segment")) == 9  # eight blocks and the closing line
    assert np.array_equal(renamed(labels_of(run)), renamed(stack.phantom.labels))
