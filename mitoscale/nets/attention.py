"""Attention of SAM's image encoder without its table of scores.

The package's attention adds two relative positions to a (tokens, tokens) table of scores, which costs more than all its
multiplications. A score is ``q k + q r_h + q r_w``: the product of the query with its positions beside it, and the key with a 1 for
its row and a 1 for its column. As one product of longer vectors it fits the fused attention that torch has for each device.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from mitoscale.nets.segment_anything_modules import Attention, get_rel_pos


class FusedAttention(nn.Module):
    """Does what the package's attention does, with its parameters and their names.

    Parameters
    ----------
    attention : segment_anything.modeling.image_encoder.Attention
        With relative positions; its parameters are shared, not copied.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.qkv, self.proj = attention.qkv, attention.proj
        self.rel_pos_h, self.rel_pos_w = attention.rel_pos_h, attention.rel_pos_w

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend.

        Parameters
        ----------
        x : (B, H, W, C) float
            Tokens.

        Returns
        -------
        (B, H, W, C) float
        """
        batch, height, width, channels = x.shape
        size = channels // self.num_heads
        q, k, v = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, size).permute(2, 0, 3, 1, 4).unbind(0)
        grid = q.reshape(batch * self.num_heads, height, width, size)
        beside = (
            torch.einsum("bhwc,hkc->bhwk", grid, get_rel_pos(height, height, self.rel_pos_h)),
            torch.einsum("bhwc,wkc->bhwk", grid, get_rel_pos(width, width, self.rel_pos_w)),
        )
        positions = [p.reshape(batch, self.num_heads, height * width, -1).to(q) for p in beside]
        queries = torch.cat([q * self.scale, *positions], dim=-1)
        keys = torch.cat([k, _places(height, width, k).expand(batch, self.num_heads, -1, -1)], dim=-1)
        values = functional.pad(v, (0, height + width))  # fused kernels want all vectors of one length
        mixed = functional.scaled_dot_product_attention(queries, keys, values, scale=1.0)[..., :size]
        result: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, height, width, channels))
        return result


def _places(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(H * W, H + W) of each token a 1 at its row and a 1 at its column; of the dtype, and made on the device, of ``like``."""
    rows, columns = (torch.eye(n, dtype=like.dtype, device=like.device) for n in (height, width))
    return torch.cat([rows.repeat_interleave(width, 0), columns.repeat(height, 1)], dim=1)
