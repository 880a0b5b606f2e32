"""The image encoder of MobileSAM (``vit_t``): TinyViT-5M with SAM's neck, a twelfth of ``vit_b``'s size.

Four stages follow a stem of two strided convolutions: one of inverted bottlenecks, then three of attention in windows, each
block with a depthwise convolution between attention and MLP. In MobileSAM the last merging of patches keeps the resolution, so
that the features have SAM's stride of 16. Parameter names are those of MobileSAM's checkpoints; their classifier head is not used.

Wu et al. 2022, arXiv 2207.10666 (TinyViT); Zhang et al. 2023, arXiv 2306.14289 (MobileSAM).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from mitoscale.nets.segment_anything_modules import LayerNorm2d

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)
"""Of the four stages: channels, blocks, attention heads, edge of the attention windows; the first stage has no attention."""

UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")
"""Beginnings of the names of checkpoints' tensors that no mask depends on."""


class TinyViT(nn.Module):
    """Embeds windows as SAM's image encoder does.

    Parameters
    ----------
    image_size : int
        Height and width of a window, in pixels; a multiple of 16.
    embedding : int
        Channels of the image embedding.
    """

    def __init__(self, image_size: int = 1024, embedding: int = 256) -> None:
        super().__init__()
        self.img_size = image_size  # as the package's encoder calls it, for who asks
        self.patch_embed = _Stem(WIDTHS[0])
        nexts = (*WIDTHS[1:], None)
        stages = (_Stage(stage, following) for stage, following in enumerate(nexts))
        self.layers = nn.ModuleList(stages)
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], embedding, 1, bias=False),
            LayerNorm2d(embedding),
            nn.Conv2d(embedding, embedding, 3, padding=1, bias=False),
            LayerNorm2d(embedding),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float, normalised, to (N, C, H / 16, W / 16) float."""
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        embedded: torch.Tensor = self.neck(x)
        return embedded


class _Normalised(nn.Sequential):
    """A convolution without bias, and its batch normalisation."""

    def __init__(self, before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(after))


class _Stem(nn.Module):
    """Pixels to features at a quarter of the resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(_Normalised(3, width // 2, 3, 2), nn.GELU(), _Normalised(width // 2, width, 3, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to (N, C, H / 4, W / 4)."""
        features: torch.Tensor = self.seq(x)
        return features


class _Stage(nn.Module):
    """The blocks of one stage, and what leads on to the width of the next."""

    def __init__(self, stage: int, following: int | None) -> None:
        super().__init__()
        width = WIDTHS[stage]
        self.blocks = nn.ModuleList(
            _Bottleneck(width) if stage == 0 else _Block(width, HEADS[stage], WINDOWS[stage]) for _ in range(DEPTHS[stage])
        )
        self.downsample = None if following is None else _Merging(width, following, stride=1 if stage == 2 else 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C of the next stage, H, W or half of them)."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class _Bottleneck(nn.Module):
    """Inverted bottleneck: four times as wide inside, a depthwise convolution, and the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inside = 4 * width
        self.conv1 = _Normalised(width, inside)
        self.conv2 = _Normalised(inside, inside, 3, groups=inside)
        self.conv3 = _Normalised(inside, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same."""
        inside = functional.gelu(self.conv2(functional.gelu(self.conv1(x))))
        return functional.gelu(x + self.conv3(inside))


class _Merging(nn.Module):
    """Leads on to the next stage's width, at half the resolution or the same."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _Normalised(before, after)
        self.conv2 = _Normalised(after, after, 3, stride, groups=after)
        self.conv3 = _Normalised(after, after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, next C, H / stride, W / stride)."""
        merged: torch.Tensor = self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x)))))
        return merged


class _Block(nn.Module):
    """Attention in windows, a depthwise convolution, an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _WindowAttention(width, heads, window)
        self.local_conv = _Normalised(width, width, 3, groups=width)
        self.mlp = _MLP(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same; windows that reach beyond the edge see zeros there."""
        count, channels, height, width = x.shape
        size = self.window
        padded = functional.pad(x, (0, -width % size, 0, -height % size))
        rows, columns = padded.shape[2] // size, padded.shape[3] // size
        windows = padded.reshape(count, channels, rows, size, columns, size).permute(0, 2, 4, 3, 5, 1)
        attended = self.attn(windows.reshape(-1, size * size, channels))
        attended = attended.reshape(count, rows, columns, size, size, channels).permute(0, 5, 1, 3, 2, 4)
        x = x + attended.reshape(padded.shape)[..., :height, :width]
        x = self.local_conv(x)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _WindowAttention(nn.Module):
    """Attention of a window's tokens; a bias for each distance in rows and columns."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window**2))
        row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        rows, columns = (places.flatten()[:, None] - places.flatten()[None] for places in (row, column))
        self.distance: torch.Tensor
        self.register_buffer("distance", rows.abs() * window + columns.abs(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, tokens, C) to the same."""
        count, tokens, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(count, tokens, self.heads, 3, width // self.heads).permute(3, 0, 2, 1, 4)
        bias = self.attention_biases[:, self.distance].to(q.dtype)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(count, tokens, width))
        return projected


class _MLP(nn.Module):
    """Two layers, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., C) to the same."""
        mixed: torch.Tensor = self.fc2(functional.gelu(self.fc1(self.norm(x))))
        return mixed
