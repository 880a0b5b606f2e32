"""Weights on disk: the project's safetensors, SAM checkpoints of others, and the embedded ones found by name.

A safetensors file carries its architecture, pixel size and training record in its header, so that a file alone is enough to run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.nets import sam, unet
from mitoscale.nets.named_weights import find_weights
from mitoscale.nets.published import check_use
from mitoscale.nets.sam_checkpoint import read_sam_checkpoint

FORMAT = 1
"""Version of the header; a larger one comes from a newer mitoscale."""


class WeightsCard(BaseModel):
    """The header of a weights file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    """``unet`` or ``sam``."""
    config: dict[str, Any]
    """Fields of :class:`~mitoscale.nets.unet.UNetConfig` or :class:`~mitoscale.nets.sam.SamConfig`."""
    pixel_nm: float | tuple[float, float] | None
    """Pixel size the weights were trained at, in nm, or (y, x) where it differs; None: unknown, the volume's own is used."""
    training: dict[str, Any] = {}
    """How they were trained."""
    format: int = FORMAT
    """Version of this header."""


def save_weights(path: Path, model: nn.Module, card: WeightsCard, *, exact: bool = False) -> None:
    """Write a model's weights as float16 safetensors, atomically.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file.
    model : Module
        What to save.
    card : WeightsCard
        The header.
    exact : bool
        Keep a tensor as float32 where float16 would round it.

    Raises
    ------
    StoppedError
        If the file cannot be written.
    """
    state = {name: _stored(value, exact).contiguous().clone() for name, value in model.state_dict().items()}
    part = path.with_suffix(".part")
    try:
        # Not save_file: it makes a file that nobody else may read, whatever the umask.
        part.write_bytes(save(state, metadata={"mitoscale": card.model_dump_json()}))
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise StoppedError(
            f"weights {path} cannot be written ({error.strerror}): free the disk, then repeat the command"
        ) from error


def _stored(value: torch.Tensor, exact: bool) -> torch.Tensor:
    if not value.dtype.is_floating_point:
        return value
    half = value.half()
    return value if exact and not torch.equal(half.to(value.dtype), value) else half


def load_unet(name_or_path: str) -> tuple[unet.UNet, WeightsCard]:
    """A U-Net in evaluation mode, float32, on the CPU, with its header.

    Raises
    ------
    InputError
        If the weights are unknown, unreadable, or not a U-Net's.
    """
    check_use(name_or_path, "detector")
    path = find_weights(name_or_path)
    card, state = _read_safetensors(path)
    _expect(card, "unet", path)
    model = unet.UNet(_config(unet.UNetConfig, card, path))
    _fill(model, state, path)
    return model, card


def load_sam(name_or_path: str) -> tuple[sam.Sam, WeightsCard]:
    """A SAM in evaluation mode, float32, on the CPU, with its header.

    ``.safetensors`` is read as this project's; anything else as a checkpoint of others (:mod:`mitoscale.nets.sam_checkpoint`).

    Raises
    ------
    InputError
        If the weights are unknown, unreadable, or not a SAM's.
    """
    check_use(name_or_path, "sam")
    path = find_weights(name_or_path)
    if path.suffix == ".safetensors":
        card, state = _read_safetensors(path)
        _expect(card, "sam", path)
    else:
        found = read_sam_checkpoint(path)
        training = {"official": found.kind} | ({"ignored": list(found.ignored)} if found.ignored else {})
        config = sam.PRESETS[found.kind].model_dump()
        card, state = WeightsCard(architecture="sam", config=config, pixel_nm=None, training=training), found.state
    model = sam.Sam(_config(sam.SamConfig, card, path))
    _fill(model, state, path)
    return model, card


def square_pixel(card: WeightsCard, name: str) -> float | None:
    """The pixel size of weights that know only square pixels, as SAM's.

    Parameters
    ----------
    card : WeightsCard
        Description of the weights.
    name : str
        What the error calls them.

    Raises
    ------
    InputError
        If the header says that they are not square.
    """
    if isinstance(card.pixel_nm, tuple):
        raise InputError(f"weights {name} tell two pixel sizes, {card.pixel_nm} nm, but SAM's pixels are square: give --sam-pixel")
    return card.pixel_nm


def _read_safetensors(path: Path) -> tuple[WeightsCard, Mapping[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights {path} cannot be read ({error}): the file is damaged or no safetensors") from error
    try:
        content = json.loads(header["mitoscale"])
        if content.get("format", 0) > FORMAT:
            raise InputError(f"weights {path} have format {content['format']}, this version reads up to {FORMAT}: update mitoscale")
        return WeightsCard.model_validate(content), state
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"weights {path} carry no mitoscale header: they were not written by mitoscale train") from error


def _expect(card: WeightsCard, architecture: str, path: Path) -> None:
    if card.architecture != architecture:
        raise InputError(f"weights {path} are of a {card.architecture}, but a {architecture} is wanted here")


def _config(kind: type[Any], card: WeightsCard, path: Path) -> Any:
    try:
        return kind.model_validate(card.config)
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(f"weights {path} describe an unknown architecture ({problem['loc']}: {problem['msg']})") from error


def _fill(model: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    own = model.state_dict()
    missing, foreign = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [n for n in own.keys() & state.keys() if own[n].shape != state[n].shape]
    if missing or foreign or shapes:
        first = (missing or foreign or shapes)[0]
        raise InputError(
            f"weights {path} do not fit the network ({len(missing)} tensors missing, {len(foreign)} unknown, "
            f"{len(shapes)} of another shape; first {first}): they belong to another architecture"
        )
    if any(not bool(torch.isfinite(v).all()) for v in state.values() if v.dtype.is_floating_point):
        raise InputError(f"weights {path} hold values that are not finite: the file is damaged")
    model.load_state_dict({name: state[name].to(own[name].dtype) for name in own})
    model.eval()
    model.requires_grad_(False)
