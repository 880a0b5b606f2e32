"""There and back again: what is given to a device, how much at once, and how long it took."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mitoscale.nets.device import device
from mitoscale.nets.device_work import DeviceClock, batch_pixels, from_device, to_device


@pytest.mark.parametrize("view", [np.s_[:], np.s_[:, ::2], np.s_[1:]])
def test_an_array_comes_back_as_it_went(view: tuple[slice, ...]) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)[view]
    tensor = to_device(array, device())
    assert tensor.device == device() and tensor.dtype == torch.uint8
    np.testing.assert_array_equal(from_device(tensor + 1)(), array + 1)


def test_the_clock_counts_what_is_inside_alone() -> None:
    clock = DeviceClock(device())
    assert clock.seconds() == 0
    with clock:
        torch.ones((400, 400), device=device()) @ torch.ones((400, 400), device=device())
    assert clock.seconds() == clock.seconds() > 0


@pytest.mark.parametrize(("gib", "pixels"), [(4, 2**18), (8, 2**19), (80, 2**22), (81, 2**22), (0.01, 2**17)])
def test_a_batch_follows_the_whole_memory_of_a_gpu(gib: float, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(total_memory=gib * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert batch_pixels(torch.device("cuda:0")) == pixels
    assert batch_pixels(torch.device("cpu")) == 2**17
