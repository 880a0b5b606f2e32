"""SAM checkpoints of others: Meta's, MobileSAM's, micro-sam's, and what torch-em's trainer saves.

All are pickles with the official parameter names; a trainer's checkpoint keeps them in ``model_state``, with ``sam.`` before each,
beside its optimizer, its history and objects of other packages. None of those objects is made: torch's own reader for tensors
alone (``weights_only``) reads the file, and where it meets a class it does not know, it is given one that does nothing.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mitoscale.core.errors import InputError
from mitoscale.nets import sam
from mitoscale.nets.tiny_vit import UNUSED

_DAMAGED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    AssertionError,
    AttributeError,
    TypeError,
)
"""What torch raises for damaged checkpoints, as found by damaging some."""

_PREFIXES = ("_orig_mod.", "sam.")
"""What may stand before the names in a trainer's ``model_state``, in this order; the first where the model was compiled."""

_NOT_PARAMETERS = ("pixel_mean", "pixel_std")

_OFFICIAL = tuple(name for name in sam.PRESETS if name != "small")


@dataclass(frozen=True, kw_only=True)
class SamCheckpoint:
    """What a checkpoint holds of a SAM."""

    kind: str
    """``vit_t``, ``vit_b``, ``vit_l`` or ``vit_h``."""
    state: Mapping[str, torch.Tensor]
    """Its parameters by their official names."""
    ignored: tuple[str, ...]
    """What else there is, which prompts do not need."""


class _Inert:
    """Stands for any class or function of another package in a pickle; takes everything and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        """Ignore what it would be made of."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Ignore the arguments, as ``__new__`` does."""

    def __setstate__(self, state: Any) -> None:
        """Ignore what would be its state."""


def read_sam_checkpoint(path: Path) -> SamCheckpoint:
    """Read a checkpoint; no code in it is run.

    Raises
    ------
    InputError
        If it is damaged, is no checkpoint of a SAM, or of another type than its name says.
    """
    with path.open("rb") as file:
        if file.read(10)[8:] == b'{"':  # the length of a JSON header, then the header
            raise InputError(f"SAM checkpoint {path} is a safetensors file: rename it so that it ends in .safetensors")
    try:
        content = _load(path)
    except _DAMAGED as error:
        raise InputError(
            f"SAM checkpoint {path} cannot be read ({type(error).__name__}): it is damaged, or no checkpoint; download it again"
        ) from error
    state, ignored = _model_state(content)
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"SAM checkpoint {path} is not a table of tensors like the official ones, or torch-em's model_state")
    kind = _kind(state, path)
    _check_named(kind, path)
    unused = (*UNUSED, *_NOT_PARAMETERS) if kind == "vit_t" else _NOT_PARAMETERS
    return SamCheckpoint(kind=kind, state={n: v for n, v in state.items() if not n.startswith(unused)}, ignored=ignored)


def _load(path: Path) -> Any:
    """The content of a pickle of tensors; objects of other packages come as :class:`_Inert`."""
    unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipfile.is_zipfile(path) else []
    stand_ins: list[Any] = [(_Inert, name) for name in unknown]
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(path, map_location="cpu", weights_only=True)


def _model_state(content: Any) -> tuple[Any, tuple[str, ...]]:
    """The parameters by their official names, and the names of what else there is."""
    if not isinstance(content, Mapping) or not isinstance(content.get("model_state"), Mapping):
        return content, ()
    parameters = {str(name): value for name, value in content["model_state"].items()}
    for prefix in _PREFIXES:
        parameters = {name.removeprefix(prefix): value for name, value in parameters.items()}
    return parameters, tuple(sorted(str(name) for name in content if name != "model_state"))


def _kind(state: Mapping[str, torch.Tensor], path: Path) -> str:
    if "image_encoder.patch_embed.seq.0.c.weight" in state:
        return "vit_t"
    position = state.get("image_encoder.pos_embed")
    widths = {sam.PRESETS[name].width: name for name in _OFFICIAL if sam.PRESETS[name].encoder == "vit"}
    kind = widths.get(position.shape[-1]) if position is not None else None
    if kind is None:
        types = f"{', '.join(_OFFICIAL[:-1])} or {_OFFICIAL[-1]}"
        raise InputError(f"checkpoint {path} is no SAM of type {types}: it lacks their encoder")
    return kind


def _check_named(kind: str, path: Path) -> None:
    """Raise where the file's name promises another type than its tensors are of."""
    named = [other for other in _OFFICIAL if other in path.name]
    if named and kind not in named:
        raise InputError(
            f"SAM checkpoint {path} is named {named[0]}, but its tensors are of a {kind}: rename it, or download it again"
        )
