"""The first origin report's training: whole slices resized to 128 x 128, Adam, binary cross-entropy."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mitoscale.core.geometry import Spacing
from mitoscale.nets.device import autocast, device
from mitoscale.nets.unet import UNet
from mitoscale.ops.resample import to_network
from mitoscale.training.epochs import epoch_batch, epoch_steps
from mitoscale.training.samples import Annotated

SIDE = 128
"""Height and width a slice is resized to."""


def report_pixels(shape: tuple[int, ...], spacing: Spacing) -> tuple[float, float]:
    """Pixel size (y, x) in nm of a resized slice of a (Z, Y, X) volume.

    Parameters
    ----------
    shape : (Z, Y, X)
        Of the volume, in voxels.
    spacing : (z, y, x)
        Voxel size in nm.
    """
    return spacing[1] * shape[1] / SIDE, spacing[2] * shape[2] / SIDE


def initialise(model: UNet, seed: int) -> None:
    """First weights as the report's library makes them (Glorot and Bengio 2010): uniform kernels, biases of 0.

    Parameters
    ----------
    model : UNet
        Changed in place.
    seed : int
        Of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


class ReportTask:
    """What the loop needs to train as the report did.

    Parameters
    ----------
    model : UNet
        The network, with one input channel.
    volume : Annotated
        Slices to train on.
    tuning : Annotated or None
        Slices to score on, at the resized pixels.
    batch : int
        Slices a step.
    seed : int
        Seed of the order.
    """

    def __init__(self, model: UNet, volume: Annotated, tuning: Annotated | None, *, batch: int = 16, seed: int = 0) -> None:
        self.model: nn.Module = model.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images, self.masks = _resized(volume)
        self.tuning = _resized(tuning) if tuning is not None else None
        self.batch = batch
        self.seed = seed

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch."""
        return epoch_steps(len(self.images), self.batch)

    def loss(self, step: int) -> torch.Tensor:
        """See :class:`mitoscale.training.loop.Task`."""
        _, chosen = epoch_batch(len(self.images), self.batch, step, self.seed)
        return functional.binary_cross_entropy_with_logits(_logits(self.model, self.images[chosen]), self.masks[chosen])

    def score(self, model: nn.Module) -> dict[str, float]:
        """Accuracy, which the report gives, IoU and loss on the tuning slices."""
        if self.tuning is None:
            return {}
        images, masks = self.tuning
        with torch.no_grad():
            logits = torch.cat([_logits(model, images[i : i + self.batch]) for i in range(0, len(images), self.batch)])
        found, wanted = logits > 0, masks > 0.5
        return {
            "accuracy": float((found == wanted).float().mean()),
            "iou": float((found & wanted).sum() / (found | wanted).sum().clamp(min=1)),
            "val_loss": float(functional.binary_cross_entropy_with_logits(logits, masks)),
        }


def _logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) float32 logits on the CPU, of images on the CPU."""
    where = next(model.parameters()).device
    with autocast(where):
        logits: torch.Tensor = model(images.to(where, memory_format=torch.channels_last))
    return logits.float().cpu()


def _resized(volume: Annotated) -> tuple[torch.Tensor, torch.Tensor]:
    """(Z, 1, 128, 128) grey values 0..1 and masks of 0 and 1."""
    rows, columns = (to_network(0, n, n / SIDE) for n in volume.image.shape[1:])
    images = np.stack([rows @ z.astype(np.float32) @ columns.T for z in volume.image])[:, None] / 255.0
    masks = np.stack([rows @ (z > 0).astype(np.float32) @ columns.T for z in volume.labels])[:, None] >= 0.5
    return torch.from_numpy(images), torch.from_numpy(masks.astype(np.float32))
