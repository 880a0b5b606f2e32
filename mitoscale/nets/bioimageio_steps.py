"""The pre- and postprocessing steps of a model description of bioimage.io, format 0.4 and 0.5.

What is taken ``per_sample`` (mean and deviation, percentiles) is taken over the whole region a block reads, so that all its windows
agree. Steps that compute on each value alone may follow the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mitoscale.core.errors import InputError

Step = Callable[[torch.Tensor], torch.Tensor]


def _scale_linear(gain: Any = 1.0, offset: Any = 0.0, **_: Any) -> Step:
    return lambda x: x * _number(gain) + _number(offset)


def _zero_mean(mean: Any = None, std: Any = None, eps: float = 1e-6, mode: str = "per_sample", **_: Any) -> Step:
    if mode == "per_dataset":
        raise InputError("zero_mean_unit_variance per_dataset needs the publisher's data set: give mean and std, mode fixed")
    if mean is not None and std is not None:
        return lambda x: (x - _number(mean)) / (_number(std) + eps)
    return lambda x: (x - x.mean()) / (x.std(correction=0) + eps)


def _fixed_zero_mean(mean: Any, std: Any, **_: Any) -> Step:
    return lambda x: (x - _number(mean)) / _number(std)


def _scale_range(min_percentile: float = 0.0, max_percentile: float = 100.0, eps: float = 1e-6, **_: Any) -> Step:
    def scale(x: torch.Tensor) -> torch.Tensor:
        low, high = np.percentile(x.numpy(), (min_percentile, max_percentile))
        return (x - float(low)) / (float(high) - float(low) + eps)

    return scale


def _clip(min: float | None = None, max: float | None = None, **_: Any) -> Step:
    return lambda x: x.clamp(min, max)


def _binarize(threshold: Any = 0.5, **_: Any) -> Step:
    return lambda x: (x > _number(threshold)).float()


_BEFORE: Mapping[str, Callable[..., Step]] = {
    "scale_linear": _scale_linear,
    "zero_mean_unit_variance": _zero_mean,
    "fixed_zero_mean_unit_variance": _fixed_zero_mean,
    "scale_range": _scale_range,
    "clip": _clip,
    "binarize": _binarize,
    "ensure_dtype": lambda **_: lambda x: x,
}

_AFTER: Mapping[str, Callable[..., Step]] = {
    "sigmoid": lambda **_: torch.sigmoid,
    "softmax": lambda **_: lambda x: x.softmax(dim=0),
    **{name: _BEFORE[name] for name in ("scale_linear", "clip", "binarize", "ensure_dtype")},
}


def before(described: Sequence[Mapping[str, Any]]) -> Step:
    """The steps before the network, as one function of a region (z, y, x).

    Raises
    ------
    InputError
        If there is a step that is not known, or lacks a number.
    """
    return _all(described, _BEFORE, "preprocessing")


def after(described: Sequence[Mapping[str, Any]]) -> Step:
    """The steps after the network, as one function of an answer (channel, z, y, x).

    Raises
    ------
    InputError
        If there is a step that is not known, or lacks a number.
    """
    return _all(described, _AFTER, "postprocessing")


def _all(described: Sequence[Mapping[str, Any]], known: Mapping[str, Callable[..., Step]], kind: str) -> Step:
    steps = []
    for step in described:
        name = str(step.get("id") or step.get("name"))
        if name not in known:
            raise InputError(f"its {kind} step {name!r} is none of {', '.join(known)}")
        try:
            steps.append(known[name](**(step.get("kwargs") or {})))
        except TypeError as error:
            raise InputError(f"its {kind} step {name!r} lacks something ({error})") from error

    def apply(x: torch.Tensor) -> torch.Tensor:
        for step in steps:
            x = step(x)
        return x

    return apply


def _number(value: Any) -> float:
    """One number; descriptions give them also as a list with one for each channel, and there is one channel."""
    return float(value[0] if isinstance(value, Sequence) else value)
