"""A model of bioimage.io as a detector: the channel of its first output that is foreground."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.nets.bioimageio_model import Axis, Model, source_file
from mitoscale.nets.bioimageio_steps import after, before
from mitoscale.nets.foreign_windows import Windows
from mitoscale.nets.gpu_lock import gpu_lock
from mitoscale.nets.torchscript import failure, load_torchscript

_LARGEST = {"z": (64, 1), "y": (256, 1024), "x": (256, 1024)}
"""Largest window edge in pixels, of models of volumes and of slices, where a model lets choose."""


class BioimageioDetector:
    """Foreground probability by a model of bioimage.io.

    Parameters
    ----------
    model : Model
        Its description.
    network : Module
        What :func:`load_network` gave.
    where : device
        Where it runs.
    channel : str or None
        Name or number of the output's channel that is foreground; None: the only one.
    pixel_nm : float or None
        Pixel size (y, x) it works at; None: what the description tells, or the volume's own.
    spacing : (z, y, x)
        Voxel size of the volume in nm.

    Raises
    ------
    InputError
        If a step of its processing is not known, or the channel is unknown or not told.
    """

    def __init__(
        self,
        model: Model,
        network: torch.nn.Module,
        *,
        where: torch.device,
        channel: str | None,
        pixel_nm: float | None,
        spacing: Spacing,
    ) -> None:
        self.model, self.network, self.where = model, network, where
        try:
            self.before, self.after = before(model.before), after(model.after)
        except InputError as error:
            raise InputError(f"model {model.folder} cannot be used: {error}") from error
        self.channel = chosen_channel(model, channel)
        self.axes = {axis.name: axis for axis in model.inputs}
        halos = {axis.name: axis.halo for axis in model.outputs}
        largest = tuple(_largest(self.axes.get(name), name, "z" in self.axes) for name in "zyx")
        halo = tuple(min(halos.get(name, 0), size // 4) for name, size in zip("zyx", largest, strict=True))
        told = [self.axes[name].pixel_nm if name in self.axes else None for name in "zyx"]
        self.windows = Windows(
            self._predict,
            pixel_nm=(told[0], pixel_nm or told[1], pixel_nm or told[2]),
            spacing=spacing,
            largest=_triple(largest),
            overlap=_triple([min(size // 2, size // 8 + 2 * h) for size, h in zip(largest, halo, strict=True)]),
            halo=_triple(halo),
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
        low, high = self.model.grey
        values = self.windows.to_network(image, region) / 255 * (high - low) + low
        return self.windows.to_volume(self.windows.ask(self.before(values)), region)

    def _predict(self, window: torch.Tensor) -> torch.Tensor:
        """(z, y, x) probability of a preprocessed window, mirrored up to a size that the model takes."""
        shape = window.shape
        sizes = [_valid(self.axes.get(name), n) for name, n in zip("zyx", shape, strict=True)]
        for axis, size in enumerate(sizes):
            window = window.index_select(axis, _mirrored(shape[axis], size))
        given = window[tuple(slice(None) if a in self.axes else 0 for a in "zyx")]
        order = [a.name for a in self.model.inputs]
        kept = [name for name in "zyx" if name in order]
        given = given.permute([kept.index(name) for name in order if name in kept])
        for place, name in enumerate(order):
            given = given if name in kept else given.unsqueeze(place)
        try:
            with torch.inference_mode(), gpu_lock(self.where.type):
                answer = self.network(given.to(self.where))
        except Exception as error:  # anything the model's code may raise
            raise BlockError(f"model {self.model.folder} fails on a window of {tuple(given.shape)} ({failure(error)})") from error
        return self._foreground_of(answer, tuple(sizes))[tuple(slice(n) for n in shape)]

    def _foreground_of(self, answer: Any, sizes: tuple[int, ...]) -> torch.Tensor:
        """(z, y, x) foreground of what the network answers."""
        first = answer[0] if isinstance(answer, list | tuple) and answer else answer
        order = [a.name for a in self.model.outputs]
        if not isinstance(first, torch.Tensor) or first.ndim != len(order):
            kind = f"a tensor of {first.ndim} axes" if isinstance(first, torch.Tensor) else type(first).__name__
            raise BlockError(f"model {self.model.folder} answers with {kind}; its description promises {''.join(order)}")
        first = first.float().cpu()
        for name in "bczyx":
            if name not in order:
                first, order = first.unsqueeze(0), [name, *order]
        ordered = self.after(first.permute([order.index(name) for name in "bczyx"])[0])
        if tuple(ordered.shape[1:]) != sizes or self.channel >= len(ordered):
            raise BlockError(
                f"model {self.model.folder} answers (c, z, y, x) {tuple(ordered.shape)} for a window of {sizes}; channel "
                f"{self.channel} at the window's own size is wanted"
            )
        return ordered[self.channel]


def chosen_channel(model: Model, channel: str | None) -> int:
    """Number of the channel that is foreground.

    Parameters
    ----------
    model : Model
        The description.
    channel : str or None
        Its name or number; None: the only one there is.

    Raises
    ------
    InputError
        If there is none of that name or number, or several and none is told.
    """
    axis = next((a for a in model.outputs if a.name == "c"), None)
    names = axis.channels if axis and axis.channels else tuple(str(i) for i in range(axis.least if axis else 1))
    if channel is None:
        if len(names) > 1:
            raise InputError(
                f"model {model.folder} answers with {len(names)} channels, {', '.join(names)}; say which is foreground: "
                f"--detector-option channel={names[0]}"
            )
        return 0
    if channel in names:
        return names.index(channel)
    if channel.isdigit() and (int(channel) < len(names) or not (axis and axis.channels)):
        return int(channel)
    raise InputError(f"--detector-option channel={channel}: model {model.folder} has channels {', '.join(names)}")


def load_network(model: Model, where: torch.device) -> torch.nn.Module:
    """The network of a model: its TorchScript, else its state dict in its own architecture, whose code is run.

    Parameters
    ----------
    model : Model
        The description.
    where : device
        Where it will run.

    Raises
    ------
    InputError
        If there are no such weights, or they cannot be loaded.
    """
    script, state = model.weights.get("torchscript"), model.weights.get("pytorch_state_dict")
    if script:
        return load_torchscript(source_file(model, script["source"], script.get("sha256")), where)
    if not state:
        there = ", ".join(model.weights) or "none"
        raise InputError(
            f"model {model.folder} has no usable weights: torchscript or pytorch_state_dict is wanted, there is {there}"
        )
    network = _architecture(model, state)
    path = source_file(model, state["source"], state.get("sha256"))
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises many kinds for files of another layout
        raise InputError(f"{path} does not fit its model's architecture ({failure(error)})") from error
    return network.to(where).eval()


def _architecture(model: Model, state: Mapping[str, Any]) -> torch.nn.Module:
    """The network that a state dict belongs to; imports a module of the folder, or an installed one."""
    told = state.get("architecture")
    if isinstance(told, Mapping):
        source, name, package = told.get("source"), str(told.get("callable")), told.get("import_from")
        keywords, sha256 = told.get("kwargs"), told.get("sha256")
    else:  # format 0.4: file.py:Class, or package.module.Class
        left, colon, right = str(told).rpartition(":")
        source, name = (left, right) if colon else (None, str(told).rpartition(".")[2])
        package = None if colon else str(told).rpartition(".")[0]
        keywords, sha256 = state.get("kwargs"), state.get("architecture_sha256")
    try:
        module = _module(source_file(model, source, sha256)) if source else importlib.import_module(str(package))
        network = getattr(module, name)(**(keywords or {}))
    except InputError:
        raise
    except Exception as error:  # anything the model's code may raise
        raise InputError(f"architecture {told} of model {model.folder} cannot be made ({failure(error)})") from error
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"architecture {told} of model {model.folder} gives a {type(network).__name__}; a torch Module is wanted")
    return network


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_bioimageio_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # of a file that is there
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _largest(axis: Axis | None, name: str, volume: bool) -> int:
    """Largest window along an axis: what the model fixes, else the most of what is usual that fits its steps."""
    if axis is None:
        return 1
    if not axis.step:
        return axis.least
    return axis.least + max(0, _LARGEST[name][0 if volume else 1] - axis.least) // axis.step * axis.step


def _valid(axis: Axis | None, length: int) -> int:
    """The smallest size from ``length`` on that the model takes."""
    if axis is None:
        return length
    return axis.least + -(-max(0, length - axis.least) // axis.step) * axis.step if axis.step else axis.least


def _mirrored(length: int, size: int) -> torch.Tensor:
    """Indices ``0 .. size`` folded into ``0 .. length``."""
    index = torch.arange(size) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


def _triple(numbers: Sequence[int]) -> Triple:
    z, y, x = numbers
    return z, y, x
