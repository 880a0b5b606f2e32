"""What tests of several folders share: a small phantom on disk, the command line, and a finished run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from mitoscale.ops.phantom import make_phantom
from mitoscale.storage.tiff_writing import write_tiff
from s3_server import S3Server, serving

# The plug-in predictors are named like anyone's, so their module must be importable wherever a test begins.
sys.path.insert(0, str(Path(__file__).parent / "end_to_end"))

from commands import SHAPE, Call, Finished, Stack, call, counting_scans, this_process

# A shell starts what it puts into the background with Ctrl-C ignored, and every process that a test starts would ignore it, too.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

# How long an example takes says nothing on a busy machine. Where CI is set the examples are always the same ones, so that what
# passed passes again; elsewhere new ones are tried each time.
settings.register_profile("any-machine", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("any-machine")

# Doctests are looked for in every module, but several modules named conftest cannot be imported side by side.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A phantom whose mitochondria do not touch, but come so near that a watershed fuses some."""
    folder = tmp_path_factory.mktemp("stack")
    phantom = make_phantom(SHAPE, objects=9, seed=3, touching=0.0)
    write_tiff(str(folder / "phantom.tif"), phantom.image, phantom.spacing)
    np.save(folder / "truth.npy", phantom.labels)
    return Stack(phantom=phantom, image=str(folder / "phantom.tif"), truth=str(folder / "truth.npy"))


@pytest.fixture(scope="session")
def mitoscale() -> Iterator[Call]:
    """``mitoscale ARGUMENTS...`` in this process, without a cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mitoscale.cli.launch.start", this_process)
        patch.setattr("mitoscale.cli.learning.start", this_process)
        yield call


@pytest.fixture(scope="session")
def finished(mitoscale: Call, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A finished run whose detector and segmenter are the truth; tests only read it."""
    run = str(tmp_path_factory.mktemp("finished") / "run")
    with counting_scans() as scans:
        ended = mitoscale("run", stack.image, run, *stack.exact())
    assert ended.code == 0, ended.err
    return Finished(run=run, ended=ended, ledger_scans=sum(scans.values()))


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """A server whose bucket ``em-data`` is empty; the environment names it."""
    with serving("em-data") as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def s3(s3_server: S3Server) -> Any:
    """A client of that server."""
    return s3_server.client()
