"""Segment Anything (Kirillov et al. 2023, arXiv 2304.02643) built from the ``segment-anything`` package's modules.

The official sizes and a small one share one class. It encodes windows and decodes prompts of several windows in one batch, and
keeps no state between calls.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from mitoscale.nets.attention import FusedAttention
from mitoscale.nets.mask_decoding import decode
from mitoscale.nets.segment_anything_modules import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from mitoscale.nets.tiny_vit import TinyViT

_RGB_MEAN = (123.675, 116.28, 103.53)
_RGB_STD = (58.395, 57.12, 57.375)


class SamConfig(BaseModel):
    """Architecture of a SAM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: Literal["vit", "tiny_vit"] = "vit"
    """Image encoder: ViT, or MobileSAM's TinyViT, of which only ``image_size`` and ``embedding`` can be chosen."""
    image_size: int = 256
    """Height and width of a window, in pixels."""
    patch_size: int = 16
    """Height and width of a token of the image encoder."""
    width: int = 192
    """Channels of the image encoder."""
    depth: int = 8
    """Layers of the image encoder."""
    heads: int = 6
    """Attention heads of the image encoder."""
    window: int = 0
    """Edge of the attention windows in tokens; 0: global attention everywhere."""
    global_layers: tuple[int, ...] = ()
    """Layers with global attention where ``window`` is not 0."""
    embedding: int = 256
    """Channels of the image embedding and the decoder."""
    decoder_mlp: int = 512
    """Hidden channels of the decoder's MLP."""


PRESETS: dict[str, SamConfig] = {
    "small": SamConfig(),
    "vit_t": SamConfig(encoder="tiny_vit", image_size=1024, decoder_mlp=2048),
    "vit_b": SamConfig(image_size=1024, width=768, depth=12, heads=12, window=14, global_layers=(2, 5, 8, 11), decoder_mlp=2048),
    "vit_l": SamConfig(image_size=1024, width=1024, depth=24, heads=16, window=14, global_layers=(5, 11, 17, 23), decoder_mlp=2048),
    "vit_h": SamConfig(image_size=1024, width=1280, depth=32, heads=16, window=14, global_layers=(7, 15, 23, 31), decoder_mlp=2048),
}
"""The small preset, MobileSAM's size, and the three official ones."""


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder; parameter names are those of the official checkpoints.

    Parameters
    ----------
    config : SamConfig
        The architecture.
    """

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        side = config.image_size // config.patch_size
        self.image_encoder = _image_encoder(config)
        self.prompt_encoder = PromptEncoder(
            embed_dim=config.embedding,
            image_embedding_size=(side, side),
            input_image_size=(config.image_size, config.image_size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=config.embedding, mlp_dim=config.decoder_mlp, num_heads=8),
            transformer_dim=config.embedding,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        )
        self.pixel_mean: torch.Tensor
        self.pixel_std: torch.Tensor
        self.register_buffer("pixel_mean", torch.tensor(_RGB_MEAN).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(_RGB_STD).view(-1, 1, 1), persistent=False)

    def encode(self, windows: torch.Tensor) -> torch.Tensor:
        """Embed windows.

        Parameters
        ----------
        windows : (N, S, S) uint8 or float
            Grey values 0..255, S the config's ``image_size``.

        Returns
        -------
        (N, C, S/16, S/16) float
            Image embeddings.
        """
        rgb = windows[:, None].to(self.pixel_mean.dtype)
        embedding: torch.Tensor = self.image_encoder((rgb - self.pixel_mean) / self.pixel_std)
        return embedding

    def decode(
        self, embeddings: torch.Tensor, window: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks for prompts.

        Parameters
        ----------
        embeddings : (N, C, h, w) float
            What :meth:`encode` gave.
        window : (P,) int64
            For each prompt the embedding it belongs to.
        points : (P, K, 2) float
            Pixel coordinates (y, x) in the window.
        labels : (P, K) int64
            What each point means: ``PADDING``, ``NEGATIVE``, ``POSITIVE``, ``BOX_START`` or ``BOX_STOP``.

        Returns
        -------
        masks : (P, 4, 4h, 4w) float
            Logits: token 0 is the single mask (boxes, several points), 1..3 are the ambiguity masks (one point).
        ious : (P, 4) float
            Predicted IoU of each mask, about 0..1.
        """
        return decode(self.prompt_encoder, self.mask_decoder, embeddings, window, points, labels)


def _image_encoder(config: SamConfig) -> nn.Module:
    """The encoder that a configuration names."""
    if config.encoder == "tiny_vit":
        return TinyViT(config.image_size, config.embedding)
    encoder = ImageEncoderViT(
        depth=config.depth,
        embed_dim=config.width,
        img_size=config.image_size,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=config.heads,
        patch_size=config.patch_size,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=config.global_layers,
        window_size=config.window,
        out_chans=config.embedding,
    )
    for block in encoder.blocks:
        block.attn = FusedAttention(block.attn)
    return encoder
