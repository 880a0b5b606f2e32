"""What a round of adapting learns from: windows with pseudo-labels, and crops of them as the network sees them unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from mitoscale.core.geometry import Spacing
from mitoscale.evaluation.tissue_windows import Window
from mitoscale.nets.unet import UNet
from mitoscale.ops.pseudo_labels import UNKNOWN, pseudo_labels
from mitoscale.training.adapt_answers import Answer
from mitoscale.training.crop import UNLABELLED, Annotated, cut
from mitoscale.training.unet import pixel_size


def labelled(windows: Sequence[Window], answers: Sequence[Answer], spacing: Spacing) -> list[Annotated]:
    """The windows with the labels that their answers agree on, and all the rest unlabelled; those without a profile are left out.

    Parameters
    ----------
    windows : sequence of Window
        What was asked about.
    answers : sequence of Answer
        One each.
    spacing : (z, y, x)
        Voxel size in nm.
    """
    found = []
    for number, (window, answer) in enumerate(zip(windows, answers, strict=True)):
        labels = np.full(window.image.shape, UNLABELLED, np.int32)
        own = pseudo_labels(answer.views, answer.wide, answer.judged)
        if not (own > 0).any():
            continue
        labels[window.own] = np.where(own == UNKNOWN, UNLABELLED, own)
        found.append(Annotated(image=window.image, labels=labels, spacing=spacing, name=f"window {number}"))
    return found


def unchanged(windows: Sequence[Window], spacing: Spacing, model: UNet) -> Iterator[torch.Tensor]:
    """(1, C, H, W) float32 grey values 0..1 of each window's middle, as the network sees them.

    Parameters
    ----------
    windows : sequence of Window
        Of a volume.
    spacing : (z, y, x)
        Voxel size in nm.
    model : UNet
        Says the pixel size, the context and the stride.
    """
    pixel, stride = pixel_size(model.config), model.stride
    for window in windows:
        shape = window.image.shape
        count = [max(stride, int(n * s / pixel) // stride * stride) for n, s in zip(shape[1:], spacing[1:], strict=True)]
        rows, columns = (
            (torch.arange(k) - (k - 1) / 2) * pixel / s + (n - 1) / 2 for k, s, n in zip(count, spacing[1:], shape[1:], strict=True)
        )
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)
        slices = [int(np.clip(window.own + round(nm / spacing[0]), 0, shape[0] - 1)) for nm in model.config.context_nm]
        volume = Annotated(image=window.image, labels=np.zeros(shape, np.int32), spacing=spacing)
        part = cut(volume, slices, window.own, grid.float())
        yield torch.from_numpy(part.image[part.channels])[None]
