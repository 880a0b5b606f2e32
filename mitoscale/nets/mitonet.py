"""MitoNet, and what its users fine-tune, as a detector: TorchScript of the ``empanada`` package.

A slice's grey value / 255 less a mean, divided by a deviation, padded with 0 below and to the right to a multiple of what the
network needs, gives logits of the foreground, a heat map of centres and offsets to them; the foreground alone is used here. The
probability of a slice is the median with those of its two neighbours, as empanada does for volumes.

Conrad & Narayan 2023, doi 10.1016/j.cels.2022.12.006. The settings are those of empanada-napari 1.2.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Spacing
from mitoscale.nets.foreign_windows import Windows
from mitoscale.nets.gpu_lock import gpu_lock
from mitoscale.nets.torchscript import failure, load_torchscript

_RENDER_STEPS = 2
"""How often the network doubles the resolution of its logits: from a quarter to its pixels."""


@dataclass(frozen=True, kw_only=True)
class MitoNetConfig:
    """How a network of this kind wants its slices."""

    padding: int = 16
    """Height and width are padded to a multiple of this; the mini wants 128."""
    mean: float = 0.57571
    """Taken from the grey value / 255 ..."""
    std: float = 0.12765
    """... before that is divided by this."""
    median: int = 3
    """Neighbouring slices of which the median is taken, an odd number; 1: none."""


def mitonet_config(path: Path, options: Mapping[str, Any]) -> MitoNetConfig:
    """The settings of a file: the mini's where its name says so, else MitoNet's, but for what the options say.

    Parameters
    ----------
    path : Path
        The file.
    options : mapping
        ``padding``, ``mean``, ``std``, ``median``, as text or numbers.

    Raises
    ------
    InputError
        If an option is unknown, or no number in its range.
    """
    values: dict[str, Any] = {"padding": 128} if "mini" in path.stem.lower() else {}
    for name, value in options.items():
        kind = {"padding": int, "mean": float, "std": float, "median": int}.get(name)
        if kind is None:
            raise InputError(f"--detector-option {name}: MitoNet takes padding, mean, std and median")
        try:
            values[name] = kind(value)
        except ValueError as error:
            raise InputError(f"--detector-option {name}={value} is no number; give one such as {name}=3") from error
    config = MitoNetConfig(**values)
    numbers = config.padding > 0 and np.isfinite(config.mean) and 0 < config.std < np.inf
    if not (numbers and config.median % 2 == 1 <= config.median):
        raise InputError(f"--detector-option: {config} is out of range; padding and std are above 0, median is 1, 3, 5, ...")
    return config


def load_mitonet(path: Path, config: MitoNetConfig, where: torch.device) -> torch.nn.Module:
    """The network, tried on an empty window.

    Parameters
    ----------
    path : Path
        The TorchScript file.
    config : MitoNetConfig
        How it wants its slices.
    where : device
        Where it will run.

    Raises
    ------
    InputError
        If it cannot be read, or answers otherwise than MitoNet does.
    """
    network = load_torchscript(path, where)
    size = -(-128 // config.padding) * config.padding
    try:
        _logits(network, torch.zeros((1, 1, size, size), device=where))
    except BlockError as error:
        raise InputError(f"{path} is no MitoNet: {error}") from error
    return network


def _logits(network: torch.nn.Module, window: torch.Tensor) -> torch.Tensor:
    """(1, 1, H, W) logits of the foreground of a normalised (1, 1, H, W) window.

    Raises
    ------
    BlockError
        If the network fails or answers otherwise.
    """
    try:
        with torch.inference_mode():
            answer = network(window, _RENDER_STEPS, False)
    except Exception as error:  # anything the code in the file may raise
        raise BlockError(f"asked with (window, render_steps, interpolate_ins) it fails ({failure(error)})") from error
    if not isinstance(answer, Mapping) or not isinstance(answer.get("sem_logits"), torch.Tensor):
        kind = f"a table of {', '.join(map(str, answer))}" if isinstance(answer, Mapping) else type(answer).__name__
        raise BlockError(f"it answers with {kind}; a table with sem_logits is wanted")
    logits: torch.Tensor = answer["sem_logits"]
    if logits.shape != window.shape:
        raise BlockError(
            f"its sem_logits have shape {tuple(logits.shape)} for a window of {tuple(window.shape)}; one class at the window's "
            "own size is wanted"
        )
    return logits


class MitoNetDetector:
    """Foreground probability by MitoNet.

    Parameters
    ----------
    network : Module
        What :func:`load_mitonet` gave.
    config : MitoNetConfig
        How it wants its slices.
    where : device
        Where it runs.
    pixel_nm : float or None
        Pixel size it works at, in nm; None: the volume's own, as with its publisher's default.
    spacing : (z, y, x)
        Voxel size of the volume in nm.
    """

    concurrent = True

    def __init__(
        self, network: torch.nn.Module, config: MitoNetConfig, *, where: torch.device, pixel_nm: float | None, spacing: Spacing
    ) -> None:
        self.network, self.config, self.where = network, config, where
        self.windows = Windows(
            self._predict, pixel_nm=(None, pixel_nm, pixel_nm), spacing=spacing, largest=(1, 1536, 1536), overlap=(0, 256, 256)
        )

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """Foreground probability.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        region : Region
            The level-0 voxels it covers.

        Returns
        -------
        (Z, Y, X) float32
            Probability 0..1.
        """
        probability = self.windows.ask(self.windows.to_network(image, region))
        return self.windows.to_volume(median_of_slices(probability, self.config.median), region)

    def _predict(self, window: torch.Tensor) -> torch.Tensor:
        """(1, H, W) probability of a window of (1, H, W) grey values 0..255."""
        height, width = window.shape[1:]
        # In float32 and by a reciprocal, as empanada does: which points the network renders hangs on the last digit.
        mean, std = np.float32(self.config.mean) * np.float32(255), np.float32(self.config.std) * np.float32(255)
        normalised = (window - float(mean)) * float(np.reciprocal(std))
        padded = functional.pad(normalised, (0, -width % self.config.padding, 0, -height % self.config.padding))
        with gpu_lock(self.where.type):
            probability = _logits(self.network, padded[None].to(self.where)).float().sigmoid()
        return probability[0, :, :height, :width].cpu()


def median_of_slices(probability: torch.Tensor, size: int) -> torch.Tensor:
    """The median of each slice with its neighbours; where there are not enough of them, the slice itself, as empanada does.

    Parameters
    ----------
    probability : (Z, H, W) float
        Of neighbouring slices.
    size : int
        How many slices a median is of, an odd number.

    Returns
    -------
    (Z, H, W) float
    """
    reach, result = size // 2, probability.clone()
    for z in range(reach, len(probability) - reach):
        result[z] = probability[z - reach : z + reach + 1].median(dim=0).values
    return result
