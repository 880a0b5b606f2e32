"""Weights that need no file: sines that anyone can compute again, also with a publisher's own code."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch


def sines(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """For each tensor of a state one of the same shape, of a size with which signals neither die nor grow."""
    return {name: _sine(name, tuple(value.shape)) for name, value in state.items()}


def _sine(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    count = int(np.prod(shape))
    wave = np.sin(np.arange(count) * 0.7 + np.square(np.arange(count) % 97) * 0.37 + sum(map(ord, name)))
    if len(shape) > 1 and not name.endswith("attention_biases"):
        wave *= 1.6 / np.sqrt(np.prod(shape[1:]))
    elif name.endswith(("running_var", "norm.weight", "bn.weight", "neck.1.weight", "neck.3.weight")):
        wave = 1 + 0.3 * wave
    else:
        wave *= 0.3
    return torch.from_numpy(wave.reshape(shape).astype(np.float32))


def window(size: int) -> np.ndarray:
    """(size, size) uint8 picture of waves."""
    y, x = np.mgrid[:size, :size]
    return np.rint(127.5 + 60 * np.sin(y / 7) + 60 * np.sin(x / 11 + y / 23)).astype(np.uint8)
