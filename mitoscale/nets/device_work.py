"""Work on a device without waiting for it: how much at once, the way there and back, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

import numpy as np
import torch

_CPU_PIXELS = 2**17
"""Pixels of a U-Net's first level computed at once on a CPU: enough to keep its threads busy, and little memory."""

_SHARE = 8
"""A batch takes this part of a GPU's memory: several tasks share it, and blocks lie there too."""

_BYTES_A_PIXEL = 2048
"""What a pixel of the first level takes on its way through a U-Net, all levels together."""


def batch_pixels(device: torch.device) -> int:
    """Pixels of a U-Net's first level that suit a device at once.

    It follows the device's whole memory, not what is free of it, so that the same device always computes the same together.

    Examples
    --------
    >>> batch_pixels(torch.device("cpu"))
    131072
    """
    if device.type != "cuda":
        return _CPU_PIXELS
    share = torch.cuda.get_device_properties(device).total_memory / _SHARE / _BYTES_A_PIXEL
    return max(_CPU_PIXELS, 2 ** int(np.log2(share)))


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array on a device; a GPU gets it from pinned memory, while the CPU goes on.

    Parameters
    ----------
    array : ndarray
        On a CPU the tensor is this array, not a copy.
    device : torch.device
        Where to.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def from_device(tensor: torch.Tensor) -> Callable[[], np.ndarray]:
    """Begin to bring a tensor back; what is returned waits for it and gives the array.

    Meanwhile a GPU can be given other work.
    """
    if tensor.device.type != "cuda":
        return tensor.numpy
    here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    here.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def array() -> np.ndarray:
        done.synchronize()
        return np.asarray(here.numpy())

    return array


class DeviceClock:
    """Measures what is given to a device inside the ``with``, without waiting for it there.

    Parameters
    ----------
    device : torch.device
        Of a GPU its own time counts, not that of giving it work.

    Examples
    --------
    >>> with DeviceClock(torch.device("cpu")) as clock:
    ...     _ = torch.zeros(3) + 1
    >>> clock.seconds() > 0
    True
    """

    def __init__(self, device: torch.device) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
        self._began = self._ended = 0.0

    def __enter__(self) -> DeviceClock:
        self._began = time.perf_counter()
        if self._events:
            self._events[0].record()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended = time.perf_counter()
        if self._events:
            self._events[1].record()

    def seconds(self) -> float:
        """Of the device; waits until it is done. 0 where nothing was measured."""
        if not self._events or not self._ended:
            return self._ended - self._began
        self._events[1].synchronize()
        return float(self._events[0].elapsed_time(self._events[1])) / 1000
