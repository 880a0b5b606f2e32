"""Samples made ahead by other processes: the same ones, in the same order, from any step on; arrays are there once."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from mitoscale.core.errors import StoppedError
from mitoscale.nets.unet import UNet, UNetConfig
from mitoscale.training.prefetch import Prefetcher, spare_processes
from mitoscale.training.samples import Annotated
from mitoscale.training.unet import UNetTask


class Rows:
    """Rows of a large array and of a small one, and who reads them."""

    def __init__(self) -> None:
        self.large = np.arange(60_000, dtype=np.int32).reshape(20, 3000)
        self.small = np.array([7, 8, 9])

    def __getitem__(self, number: int) -> tuple[np.ndarray, int, bool, int]:
        return self.large[number].copy(), int(self.small[number % 3]), self.large.flags.writeable, os.getpid()


def three(step: int) -> list[int]:
    return [(3 * step + i) % 20 for i in range(3)]


def test_other_processes_make_the_same_samples_from_any_step_on() -> None:
    here, there = Prefetcher(Rows(), three), Prefetcher(Rows(), three, processes=2)
    makers = set()
    for step in (0, 1, 2, 3, 9, 10, 4):  # a jump begins anew
        for mine, other in zip(here.of(step), there.of(step), strict=True):
            assert (mine[0] == other[0]).all() and mine[1] == other[1]
            assert mine[3] == os.getpid() and not other[2], "other processes only map the arrays"
            makers.add(other[3])
    assert len(makers) >= 2 and os.getpid() not in makers


def test_a_training_is_the_same_for_any_number_of_processes(annotated: Annotated, one_thread: None) -> None:
    losses = []
    for processes in (0, 2):
        torch.manual_seed(0)
        model = UNet(UNetConfig(widths=(4, 8), context_nm=(-20.0, 0.0, 20.0)))
        task = UNetTask(model, [annotated], [], batch=2, size=32, bodies=0.5, seed=3, processes=processes)
        losses.append([float(task.loss(step).detach()) for step in (0, 1, 5)])
    assert losses[0] == losses[1] and len(set(losses[0])) == 3


def test_file_and_processes_end_with_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ahead = Prefetcher(Rows(), three, processes=1)
    maker = ahead.of(0)[0][3]
    assert psutil.pid_exists(maker) and list(tmp_path.glob("mitoscale-samples-*/arrays"))
    del ahead
    assert not psutil.pid_exists(maker) and not list(tmp_path.glob("mitoscale-samples-*"))


class Broken:
    """A sample that cannot be made."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, number: int) -> int:
        raise self.error


@pytest.mark.parametrize("processes", [0, 1])
def test_an_error_on_purpose_arrives_as_it_is(processes: int) -> None:
    with pytest.raises(StoppedError, match=r"^the cache has lost 7$"):
        Prefetcher(Broken(StoppedError("the cache has lost 7")), three, processes=processes).of(0)


def test_another_error_arrives_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="no sample") as caught:
        Prefetcher(Broken(ValueError("no sample")), three, processes=1).of(0)
    assert "__getitem__" in str(caught.value)


def test_a_full_disk_stops_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r": real(Path("/dev/full") if self.name == "arrays" else self, mode))
    with pytest.raises(StoppedError, match=r"cannot be written \(No space left on device\).*TMPDIR"):
        Prefetcher(Rows(), three, processes=1).of(0)


def test_a_cpu_learns_alone_and_a_gpu_gets_what_is_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.training.prefetch.device", lambda: torch.device("cpu"))
    assert spare_processes(None) == 0
    monkeypatch.setattr("mitoscale.training.prefetch.device", lambda: torch.device("cuda:0"))
    monkeypatch.setattr("mitoscale.training.prefetch.cpus", lambda: 8)
    assert spare_processes(None) == 7 and spare_processes(3) == 2 and spare_processes(1) == 0 and spare_processes(64) == 16
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    assert spare_processes(None) == 0, "a daemon may have no children"
