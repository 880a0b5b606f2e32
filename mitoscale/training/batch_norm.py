"""The statistics of batch normalisation, estimated anew on another volume.

Weights stay as they are; only what counts as usual in each channel changes (Li et al. 2016, "Revisiting batch normalization for
practical domain adaptation", arXiv 1603.04779).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from mitoscale.nets.unet import UNet


def estimated_anew(model: UNet, batches: Iterable[torch.Tensor], part: float = 1.0) -> UNet:
    """The same network with other statistics of the normalisation, in evaluation mode.

    Parameters
    ----------
    model : UNet
        Stays as it is.
    batches : iterable of (N, C, H, W) float
        Grey values 0..1, as the network sees them.
    part : float
        0: the statistics stay, 1: only ``batches`` decide.
    """
    result = copy.deepcopy(model).eval()
    layers = [layer for layer in result.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [[value.clone() for value in _of(layer)] for layer in layers]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches
        layer.train()
    with torch.no_grad():
        for batch in batches:
            result(batch)
    for layer, old, momentum in zip(layers, before, momenta, strict=True):
        layer.momentum = momentum
        for value, was in zip(_of(layer), old, strict=True):
            value.lerp_(was, 1 - part)
    return result.eval()


def _of(layer: nn.BatchNorm2d) -> list[torch.Tensor]:
    """Mean and variance of each channel."""
    return [value for value in (layer.running_mean, layer.running_var) if value is not None]
