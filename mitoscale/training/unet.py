"""Training the U-Net: crops at native scale, Dice plus cross-entropy, a gap of background where mitochondria touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from mitoscale.nets.device import autocast, device, memory_format
from mitoscale.nets.unet import UNet, UNetConfig
from mitoscale.nets.unet_detector import UNetDetector
from mitoscale.training.losses import foreground_loss
from mitoscale.training.prefetch import Prefetcher, numbered
from mitoscale.training.samples import Annotated, Crop, CropSampler

_COARSE_NM = 10.0
"""Pixel size of the first level."""


def pixel_size(config: UNetConfig) -> float:
    """Pixel size a U-Net works at, in nm."""
    return _COARSE_NM / config.fold


class Crops:
    """Crops by their number: what the processes that make them need to know.

    Parameters
    ----------
    sampler : CropSampler
        Draws them.
    seed : int
        Another seed gives other crops.
    """

    def __init__(self, sampler: CropSampler, seed: int) -> None:
        self.sampler = sampler
        self.seed = seed

    def __getitem__(self, number: int) -> Crop:
        return self.sampler.draw(np.random.default_rng([self.seed, number]))


class UNetTask:
    """What the loop needs to train a U-Net.

    Parameters
    ----------
    model : UNet
        The network.
    volumes : list of Annotated
        What to train on.
    tuning : sequence of Annotated
        What to score on; without any the score is 0 and the last weights are kept.
    batch : int
        Crops a step.
    size : int
        Height and width of a crop in pixels: a multiple of the network's stride.
    bodies : float
        Chance of a drawn dark body, and of each further one: such bodies are mistaken most, and volumes hold few to learn from.
    varied : float
        See :class:`~mitoscale.training.samples.CropSampler`.
    seed : int
        Seed of the crops.
    processes : int
        See :class:`~mitoscale.training.prefetch.Prefetcher`.
    """

    def __init__(
        self,
        model: UNet,
        volumes: list[Annotated],
        tuning: Sequence[Annotated],
        *,
        batch: int = 8,
        size: int = 512,
        bodies: float = 0.45,
        varied: float = 0.0,
        seed: int = 0,
        processes: int = 0,
    ) -> None:
        self.model: nn.Module = model
        sampler = CropSampler(
            volumes,
            size=size,
            pixel_nm=pixel_size(model.config),
            context_nm=model.config.context_nm,
            bodies=bodies,
            varied=varied,
        )
        self.crops = Prefetcher(Crops(sampler, seed), numbered(batch), processes)
        self.tuning = tuning
        model.to(device(), memory_format=memory_format())  # type: ignore[call-overload]

    def loss(self, step: int) -> torch.Tensor:
        """See :class:`mitoscale.training.loop.Task`."""
        crops = self.crops.of(step)
        where = next(self.model.parameters()).device
        image = torch.from_numpy(np.stack([c.image for c in crops])).to(where, memory_format=memory_format())
        target, weight = separated_foreground(torch.from_numpy(np.stack([c.labels for c in crops]))[:, None].to(where))
        with autocast(where):
            logits = self.model(image.float() / 255.0)
        return foreground_loss(logits.float(), target, weight)

    def score(self, model: nn.Module) -> dict[str, float]:
        """Foreground IoU, accuracy and cross-entropy on every fourth tuning slice: the mean over volumes, then each IoU."""
        assert isinstance(model, UNet)
        each = {volume.name: _scores(model, volume) for volume in self.tuning}
        if len(each) < 2:
            return next(iter(each.values()), {})
        mean = {name: float(np.mean([s[name] for s in each.values()])) for name in next(iter(each.values()))}
        return mean | {f"iou_{volume}": scores["iou"] for volume, scores in each.items()}


def _scores(model: UNet, volume: Annotated) -> dict[str, float]:
    detector = UNetDetector(model, pixel_nm=pixel_size(model.config), spacing=volume.spacing)
    chosen = range(min(2, (len(volume.image) - 1) // 2), len(volume.image), 4)
    labels = volume.labels[list(chosen)]
    counted = labels >= 0
    return validation_scores(detector.probability(volume.image, chosen)[counted], labels[counted] > 0)


def validation_scores(probability: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """IoU and accuracy at 0.5, and cross-entropy.

    Parameters
    ----------
    probability : (...) float32
        Foreground probability 0..1.
    truth : same shape, bool
        What is foreground.
    """
    found = probability >= 0.5
    likelihood = np.where(truth, probability, 1 - probability)
    return {
        "iou": float((found & truth).sum() / max((found | truth).sum(), 1)),
        "accuracy": float((found == truth).mean()),
        "val_loss": float(-np.log(np.maximum(likelihood, 1e-7)).mean()),
    }


def with_mistakes(model: UNet, volume: Annotated, every: int = 4, distance_nm: float = 60.0, most: int = 20_000) -> Annotated:
    """The volume with what the network takes for mitochondria far from any: crops around it teach the difference.

    Parameters
    ----------
    model : UNet
        Already trained.
    volume : Annotated
        Volume to train on.
    every : int
        Only every so many slices are looked at.
    distance_nm : float
        Nearer to a mitochondrion it is a matter of the outline, not a mistake.
    most : int
        Largest number of voxels kept, evenly spread.
    """
    chosen = range(0, len(volume.image), every)
    model.eval()
    predicted = (
        UNetDetector(model, pixel_nm=pixel_size(model.config), spacing=volume.spacing).probability(volume.image, chosen) >= 0.5
    )
    found = [np.zeros((0, 3), np.int64)]
    for z, mask in zip(chosen, predicted, strict=True):
        truth = volume.labels[z] != 0  # what is unlabelled may be one
        far = ndimage.distance_transform_edt(~truth) > distance_nm / volume.spacing[1] if truth.any() else ~truth
        places = np.argwhere(mask & far)
        found.append(np.concatenate([np.full((len(places), 1), z), places], axis=1))
    mistaken = np.concatenate(found)
    return replace(volume, mistaken=mistaken[:: len(mistaken) // most + 1])


def separated_foreground(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Foreground with touching instances parted, and the weight of each pixel.

    Parameters
    ----------
    labels : (N, 1, H, W) integer
        Instances; negative where unlabelled.

    Returns
    -------
    target : (N, 1, H, W) float
        1 inside an instance, 0 outside and where another instance is a neighbour pixel (8-neighbourhood).
    weight : (N, 1, H, W) float
        1, and 5 on the parted pixels and those right beside them; 0 where unlabelled.
    """
    value = labels.clamp(min=0).float()
    largest = functional.max_pool2d(value, 3, 1, 1)
    # The smallest non-zero label around: background counts as larger than any label.
    beyond = value.max() + 1
    smallest = -functional.max_pool2d(-torch.where(value > 0, value, beyond), 3, 1, 1)
    contact = (labels > 0) & (largest != smallest)
    target = ((labels > 0) & ~contact).float()
    near = functional.max_pool2d(contact.float(), 3, 1, 1)
    return target, torch.where(labels < 0, 0, 1 + 4 * near)
