"""The U-Net (Ronneberger et al. 2015, doi 10.1007/978-3-319-24574-4_28) with configurable widths.

It sees a slice and its neighbours at fixed distances in nm as channels, so that one set of weights serves volumes of any z-step:
where the slices are thicker than the distance, the channels are copies of the slice itself.
"""

from __future__ import annotations

import copy

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class UNetConfig(BaseModel):
    """Architecture of a U-Net."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    """Channels of each level, finest first."""
    context_nm: tuple[float, ...] = (-40.0, -20.0, 0.0, 20.0, 40.0)
    """Distances in z, in nm, of the slices that are the input channels; 0 is the slice itself."""
    normalise: bool = True
    """Batch normalisation after each convolution."""
    fold: int = 1
    """Pixels a side that become channels of one pixel of the first level, and are pixels again at the end: what is finer than
    that level is seen, at almost no cost."""


PRESETS: dict[str, UNetConfig] = {
    "small": UNetConfig(fold=2),
    "report": UNetConfig(widths=(64, 128, 256, 512, 1024), context_nm=(0.0,), normalise=False),
}
"""``small`` runs well on CPUs; ``report`` is the first origin report's network."""


class UNet(nn.Module):
    """U-Net with transposed convolutions.

    Parameters
    ----------
    config : UNetConfig
        The architecture.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        channels = (len(config.context_nm) * config.fold**2, *widths)
        self.down = nn.ModuleList(_convolutions(a, b, config.normalise) for a, b in zip(channels[:-1], channels[1:], strict=True))
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(b, a, kernel_size=2, stride=2) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.up = nn.ModuleList(_convolutions(2 * a, a, config.normalise) for a in widths[:-1])
        self.head = nn.Conv2d(widths[0], config.fold**2, kernel_size=1)

    @property
    def stride(self) -> int:
        """Height and width of an input must be multiples of this."""
        return self.config.fold * 2 ** (len(self.config.widths) - 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Foreground logits.

        Parameters
        ----------
        image : (N, C, H, W) float
            Grey values 0..1, one channel a context slice; H and W multiples of :attr:`stride`.

        Returns
        -------
        (N, 1, H, W) float
            Logits of being mitochondrion.
        """
        x = nn.functional.pixel_unshuffle(image * 2.0 - 1.0, self.config.fold)
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for rise, block, skip in zip(reversed(self.rise), reversed(self.up), reversed(skips[:-1]), strict=True):
            x = block(torch.cat([skip, rise(x)], dim=1))
        logits: torch.Tensor = nn.functional.pixel_shuffle(self.head(x), self.config.fold)
        return logits


def folded(coarse: UNet, fold: int) -> UNet:
    """A network that folds pixels and computes at first what ``coarse`` does on their means: to train it on from there.

    Parameters
    ----------
    coarse : UNet
        A network with ``fold`` 1.
    fold : int
        Of the new one, whose pixels are that much smaller.
    """
    if coarse.config.fold != 1:
        raise ValueError(f"only a network with fold 1 can be folded, this one has {coarse.config.fold}")
    fine = UNet(coarse.config.model_copy(update={"fold": fold}))
    state = dict(coarse.state_dict())
    state["down.0.0.weight"] = state["down.0.0.weight"].repeat_interleave(fold**2, dim=1) / fold**2
    state["head.weight"] = state["head.weight"].repeat(fold**2, 1, 1, 1)
    state["head.bias"] = state["head.bias"].repeat(fold**2)
    fine.load_state_dict(state)
    return fine


def folded_normalisation(model: UNet) -> UNet:
    """The same network, in evaluation mode, with each batch normalisation folded into the convolution before it: faster."""
    quick = copy.deepcopy(model).eval()
    for block in (*quick.down, *quick.up):
        layers = list(block.children())
        for i, layer in enumerate(layers[1:], start=1):
            if isinstance(layer, nn.BatchNorm2d):
                block[i - 1] = fuse_conv_bn_eval(layers[i - 1], layer)
                block[i] = nn.Identity()
    return quick.requires_grad_(False)


def _convolutions(channels_in: int, channels_out: int, normalise: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a in (channels_in, channels_out):
        layers.append(nn.Conv2d(a, channels_out, kernel_size=3, padding=1, bias=not normalise))
        if normalise:
            layers.append(nn.BatchNorm2d(channels_out))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
