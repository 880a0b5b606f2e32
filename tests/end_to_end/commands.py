"""Calling the command line from tests: in this process or as one of its own, and what it leaves behind."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mitoscale.cli import main
from mitoscale.cluster.executor import SerialExecutor
from mitoscale.ops.phantom import Phantom
from mitoscale.storage import ledger
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder

SHAPE = (32, 128, 128)
BLOCK = (16, 64, 64)
"""Cuts the phantom into eight blocks."""

MODULES = (str(Path(__file__).parent), str(Path(__file__).parents[2] / "benchmarks"))
"""Where ``known_truth`` and ``synthetic`` lie, which the tests name as anyone names a predictor."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]
"""``mitoscale ARGUMENTS...``."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A phantom on disk."""

    phantom: Phantom
    image: str
    """TIFF that tells its voxel size."""
    truth: str
    """``.npy`` of the labels."""

    def oracle(self) -> list[str]:
        """Options that put the known truth in the U-Net's place; what is found is split by the watershed."""
        detector = ["--detector", "known_truth:detector", "--detector-option", f"truth={self.truth}"]
        return [*detector, "--segmenter", "unet", "--block", ",".join(map(str, BLOCK)), "--workers", "1"]

    def exact(self) -> list[str]:
        """Options that put the known truth in the place of all networks: fragments too are the truth's."""
        segmenter = ["--segmenter", "known_truth:segmenter", "--segmenter-option", f"truth={self.truth}"]
        return [*self.oracle(), *segmenter]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that is done."""

    run: str
    """Its folder."""
    ended: Ended
    """How its command ended."""
    ledger_scans: int
    """How often it read one of its ledgers from one end to the other."""


@contextmanager
def this_process(settings: Any) -> Iterator[SimpleNamespace]:
    """Stands where a cluster is started: the same tasks, one after another in this process."""
    yield SimpleNamespace(
        executor=SerialExecutor(),
        dashboard_link="(none)",
        client=SimpleNamespace(status="closed", register_plugin=lambda plugin: None, run_on_scheduler=lambda *_: False),
        run_job=_job_here,
        preload=lambda load: None,
    )


def _job_here(job: Callable[[Any], Any], *, name: str, heard: Callable[[Any], None]) -> Any:
    return job(heard)


def call(*arguments: str) -> Ended:
    """Call the command line in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Ended(code=code, out=out.getvalue(), err=err.getvalue())


def begin(*arguments: str) -> subprocess.Popen[str]:
    """Start the command line as a process with a session of its own, and with a real local cluster."""
    path = os.pathsep.join(p for p in (*MODULES, os.environ.get("PYTHONPATH", "")) if p)
    return subprocess.Popen(
        [sys.executable, "-c", "from mitoscale.cli import main; main()", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> Ended:
    """Wait for a process."""
    out, err = process.communicate(timeout=240)
    return Ended(code=process.returncode, out=out, err=err)


def contents(folder: str | Path) -> dict[str, str]:
    """All files and folders below a folder, with digests of the files: equal before and after where nothing changed."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(Path(folder).rglob("*"))
    }


@contextmanager
def counting_scans() -> Iterator[Counter[str]]:
    """Count how often each ledger is read from one end to the other."""
    scans: Counter[str] = Counter()

    def counted(lines: Callable[[str], Iterator[bytes]]) -> Callable[[str], Iterator[bytes]]:
        def read(path: str) -> Iterator[bytes]:
            yield from lines(path)
            scans[Path(path).name] += Path(path).exists()

        return read

    with pytest.MonkeyPatch.context() as patch:
        for name in ("lines_of", "lines_from_the_end"):
            patch.setattr(ledger, name, counted(getattr(ledger, name)))
        yield scans


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes: to write more fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def labels_of(run: str, level: int = 0) -> np.ndarray:
    """(Z, Y, X) final labels of a run; raises where a shard was never written."""
    return open_array(f"{RunFolder(run).labels}/{level}").read_all()


def renamed(labels: np.ndarray) -> np.ndarray:
    """The same partition with labels in the order in which they first appear, 0 staying 0."""
    values, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.where(values == 0, -1, first).argsort()
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values)) + (0 if values[0] == 0 else 1)
    return rank[inverse].reshape(labels.shape)


def cut(path: Path, to: float) -> Path:
    """Cut a file off after a part of it."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * to)])
    return path


def check_refused(call: Call, folder: Path, arguments: list[str], said: str) -> None:
    """Check that a command ends with 1 and one line on stderr, and that a folder is as it was."""
    before = contents(folder)
    ended = call(*arguments)
    assert ended.code == 1, ended.err
    assert ended.err.startswith("mitoscale: ") and len(ended.err.splitlines()) == 1, ended.err
    assert said in ended.err
    assert not ended.out
    assert contents(folder) == before
