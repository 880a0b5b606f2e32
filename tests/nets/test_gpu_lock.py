"""Tasks that share a worker: networks are loaded once, foreign predictors are called one at a time, reading goes on meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import pytest
import torch

from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.factories import make_detector, make_segmenter
from mitoscale.nets.gpu_lock import _LOCK, gpu_lock
from mitoscale.ops.masks import Mask

REGION = Region.of_shape((1, 4, 4))
IMAGE = np.zeros(REGION.shape, np.uint8)


class Watched:
    """A predictor that notes how many threads are in it, and how often it was made."""

    made = 0

    def __init__(self, concurrent: str = "") -> None:
        time.sleep(0.05)  # a second thread comes while it is being made
        type(self).made += 1
        self.concurrent = bool(concurrent)
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.05)
        with self.lock:
            self.inside -= 1
        return np.full(image.shape, self.most, np.float32)

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        return self.foreground(image, region).astype(np.uint32)


class WatchedMasks(Watched):
    fragments = None  # type: ignore[assignment]

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: object, region: Region) -> list[list[Mask]]:
        most = float(self.foreground(image, region).max())
        return [[Mask(y0=0, x0=0, mask=np.ones(image.shape[1:], bool), score=most, profile=1)]]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module with factories, new for each test, as the cache of what was made is not."""
    name = f"lab_{abs(hash(request.node.name))}"
    module = ModuleType(name)
    module.detector = module.volume = type("Detector", (Watched,), {"made": 0})  # type: ignore[attr-defined]
    module.masks = type("Masks", (WatchedMasks,), {"made": 0})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    return name


def most_at_once(call: object) -> float:
    with ThreadPoolExecutor(4) as pool:
        return max(float(np.max(r)) for r in pool.map(lambda _: call(), range(4)))  # type: ignore[operator]


@pytest.mark.parametrize(("options", "expected"), [({}, 1), ({"concurrent": "yes"}, 4)])
def test_a_detector_from_elsewhere_is_called_by_one_thread_at_a_time(lab: str, options: dict, expected: int) -> None:
    settings = DetectSettings(detector=f"{lab}:detector", options=options)
    found = most_at_once(lambda: make_detector(settings, (5, 5, 5)).foreground(IMAGE, REGION))
    assert found == 1 if expected == 1 else found > 1
    assert sys.modules[lab].detector.made == 1


def test_segmenters_from_elsewhere_too(lab: str) -> None:
    volume = SegmentSettings(segmenter=f"{lab}:volume")
    assert most_at_once(lambda: make_segmenter(volume, (5, 5, 5)).fragments(IMAGE, IMAGE, REGION)) == 1  # type: ignore[union-attr]
    masks = SegmentSettings(segmenter=f"{lab}:masks")
    assert most_at_once(lambda: make_segmenter(masks, (5, 5, 5)).masks(IMAGE, IMAGE, [], REGION)[0][0].score) == 1  # type: ignore[union-attr]


def test_a_task_reads_while_another_computes(lab: str) -> None:
    detector = make_detector(DetectSettings(detector=f"{lab}:detector"), (5, 5, 5))
    reading, computing = [], []

    def task(number: int) -> None:
        began = time.monotonic()
        time.sleep(0.03)
        reading.append((began, time.monotonic()))
        began = time.monotonic()
        detector.foreground(IMAGE, REGION)
        computing.append((began, time.monotonic()))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(task, range(4)))
    assert any(r[0] < c[1] and c[0] < r[1] for r in reading for c in computing)


def test_only_a_gpu_makes_threads_wait() -> None:
    with gpu_lock("cuda"):
        assert _LOCK.locked()
        with gpu_lock("cpu"):
            pass
    assert not _LOCK.locked()


def test_the_embedded_networks_say_the_same_in_two_threads() -> None:
    """They are shared by the tasks of a worker: nothing of one call may be left in them for another."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (2, 96, 96), np.uint8) for _ in range(4)]
    detector = make_detector(DetectSettings(), (5, 5, 5))
    region = Region.of_shape((2, 96, 96))
    expected = [detector.foreground(image, region) for image in images]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda image: detector.foreground(image, region), images))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
