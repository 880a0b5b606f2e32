"""Weights between those a training started from and those it ended with.

What a network had learnt before is partly forgotten while it learns something new; the mean of both networks often does better
than either (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903).
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def blended(end: Network, start: nn.Module, keep: float) -> Network:
    """A network with ``keep`` parts of ``start`` and the rest of ``end``.

    Parameters
    ----------
    end : Module
        Trained; stays as it is.
    start : Module
        What it was before, of the same architecture.
    keep : float
        0..1: 0 gives ``end``, 1 gives ``start``.

    Returns
    -------
    Module
        In evaluation mode, on the device of ``end``. Counters are those of ``end``.
    """
    result = copy.deepcopy(end).eval()
    before = start.state_dict()
    with torch.no_grad():
        for name, value in result.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(before[name].to(value), keep)
    return result
