"""SAM's mask decoder (Kirillov et al. 2023, arXiv 2304.02643) for many prompts of few windows.

The package's decoder copies a window's embedding for each prompt, and computes with every copy what all of them share. Here what
the first layer makes of a window is computed once, and the upscaling is products of matrices in place of transposed convolutions
whose blocks do not overlap. Parameters are the package's own; so are the answers, but for rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from mitoscale.nets.segment_anything_modules import MaskDecoder, PromptEncoder

PADDING, NEGATIVE, POSITIVE, BOX_START, BOX_STOP = -1, 0, 1, 2, 3
"""What a prompt's point means: the labels of the official ONNX export."""

_CPU_TOKENS = 2**14
"""Image tokens, those of the window for each prompt, that a CPU's caches hold: so many are computed at a time."""


def decode(
    prompt_encoder: PromptEncoder,
    mask_decoder: MaskDecoder,
    embeddings: torch.Tensor,
    window: torch.Tensor,
    points: torch.Tensor,
    labels: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What :meth:`mitoscale.nets.sam.Sam.decode` does, for who holds the embeddings and needs no image encoder.

    Parameters
    ----------
    prompt_encoder, mask_decoder
        Modules of the network.
    embeddings : (W, C, h, w) float
        Of W windows.
    window : (P,) int64
        Window of each prompt.
    points : (P, K, 2) float
        y and x in the window's pixels.
    labels : (P, K) int
        Meaning of each point; see :meth:`mitoscale.nets.sam.Sam.decode`.
    """
    sparse = _embed_points(prompt_encoder, points, labels)
    tokens = torch.cat([mask_decoder.iou_token.weight, mask_decoder.mask_tokens.weight], dim=0)
    tokens = torch.cat([tokens.expand(len(sparse), -1, -1), sparse], dim=1)
    image = embeddings + prompt_encoder.no_mask_embed.weight[0].view(1, -1, 1, 1)
    dtype = _dtype(embeddings)
    windows = _Windows(mask_decoder, _rows(image).to(dtype), _rows(prompt_encoder.get_dense_pe()).to(dtype))
    learning = torch.is_grad_enabled()
    tokens_each = embeddings.shape[-2:].numel()
    at_once = max(1, _CPU_TOKENS // tokens_each) if embeddings.device.type == "cpu" and not learning else max(1, len(tokens))
    parts = [
        _answer(mask_decoder, windows, window[first : first + at_once], tokens[first : first + at_once])
        for first in range(0, max(1, len(tokens)), at_once)
    ]
    masks, ious = (torch.cat(kind) for kind in zip(*parts, strict=True))
    return _in_rows_and_columns(masks, embeddings.shape[-2:]), ious


def _dtype(embeddings: torch.Tensor) -> torch.dtype:
    """What tokens are kept in between the products: in training, float32, where a product may be less exact than a sum."""
    kind = embeddings.device.type
    narrow = torch.is_autocast_enabled(kind) and not torch.is_grad_enabled()
    return torch.get_autocast_dtype(kind) if narrow else torch.float32


class _Windows:
    """The image tokens of windows, and what the first layer's attention makes of them, which is the same for all their prompts.

    Parameters
    ----------
    decoder : MaskDecoder
        The network.
    image : (W, N, C) float
        Tokens.
    position : (1, N, C) float
        Where they lie.
    """

    def __init__(self, decoder: MaskDecoder, image: torch.Tensor, position: torch.Tensor) -> None:
        first = decoder.transformer.layers[0]
        placed = image + position
        self.image, self.position = image, position
        self.keys = first.cross_attn_token_to_image.k_proj(placed)
        self.values = first.cross_attn_token_to_image.v_proj(image)
        self.queries = first.cross_attn_image_to_token.q_proj(placed)


def _answer(
    decoder: MaskDecoder, windows: _Windows, window: torch.Tensor, asked: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(P, N, 4, 4, M) logits of the 4 x 4 pixels of each image token, and (P, M) predicted IoU, of prompts (P, T, C)."""
    transformer = decoder.transformer
    asked = asked.to(windows.image.dtype)
    tokens, image = asked, windows.image[window]
    for number, layer in enumerate(transformer.layers):
        if layer.skip_first_layer_pe:
            tokens = layer.norm1(_attend(layer.self_attn, tokens, tokens, tokens))
        else:
            placed = tokens + asked
            tokens = layer.norm1(tokens + _attend(layer.self_attn, placed, placed, tokens))
        to_image, to_tokens = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        if number == 0:
            keys, values, queries = (made[window] for made in (windows.keys, windows.values, windows.queries))
        else:
            placed = image + windows.position
            keys, values, queries = to_image.k_proj(placed), to_image.v_proj(image), to_tokens.q_proj(placed)
        tokens = layer.norm2(tokens + _attend_projected(to_image, to_image.q_proj(tokens + asked), keys, values))
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        heard = _attend_projected(to_tokens, queries, to_tokens.k_proj(tokens + asked), to_tokens.v_proj(tokens))
        image = layer.norm4(image + heard).to(asked.dtype)
    final = transformer.final_attn_token_to_image
    tokens = transformer.norm_final_attn(tokens + _attend(final, tokens + asked, image + windows.position, image))
    weights = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=-1)
    pixels = _upscaled(decoder.output_upscaling, image)
    masks = pixels.flatten(1, -2) @ weights.to(pixels.dtype)
    return masks.unflatten(1, pixels.shape[1:-1]), decoder.iou_prediction_head(tokens[:, 0])


def _attend(attention: Any, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(P, Q, C) of queries (P, Q, C), keys and values (P, K, C)."""
    return _attend_projected(attention, attention.q_proj(queries), attention.k_proj(keys), attention.v_proj(values))


def _attend_projected(attention: Any, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The same where the projections are made already."""
    heads = [t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (queries, keys, values)]
    mixed = functional.scaled_dot_product_attention(*heads)
    result: torch.Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return result


def _upscaled(upscaling: Any, image: torch.Tensor) -> torch.Tensor:
    """(P, N, 2, 2, 2, 2, c) what becomes of image tokens (P, N, C): halves along y and x, and halves of these."""
    first, norm, active, second, last = upscaling
    halves = active(functional.layer_norm(_doubled(first, image), norm.weight.shape, norm.weight, norm.bias, norm.eps))
    finest: torch.Tensor = last(_doubled(second, halves.to(image.dtype)))
    return finest


def _doubled(transposed: Any, image: torch.Tensor) -> torch.Tensor:
    """(..., 2, 2, C') of (..., C): the convolution's 2 x 2 pixels for each."""
    channels, wide = transposed.weight.shape[:2]
    weight = transposed.weight.permute(2, 3, 1, 0).reshape(4 * wide, channels)
    return functional.linear(image, weight, transposed.bias.repeat(4)).unflatten(-1, (2, 2, wide))


def _in_rows_and_columns(masks: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """(P, M, 4h, 4w) of (P, h * w, 2, 2, 2, 2, M)."""
    height, width = shape
    placed = masks.unflatten(1, (height, width)).permute(0, 7, 1, 3, 5, 2, 4, 6)
    return placed.reshape(len(masks), masks.shape[-1], 4 * height, 4 * width)


def _rows(maps: torch.Tensor) -> torch.Tensor:
    """(B, h * w, C) of (B, C, h, w)."""
    return maps.flatten(2).transpose(1, 2).contiguous()


def _embed_points(encoder: PromptEncoder, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(P, K, C) embeddings of points, box corners and padding."""
    xy = (points.flip(-1) + 0.5) / encoder.input_image_size[0]
    embedded = encoder.pe_layer._pe_encoding(xy.float())
    embedded = embedded * (labels != PADDING).unsqueeze(-1)
    embedded = embedded + (labels == PADDING).unsqueeze(-1) * encoder.not_a_point_embed.weight[0]
    for meaning in (NEGATIVE, POSITIVE, BOX_START, BOX_STOP):
        embedded = embedded + (labels == meaning).unsqueeze(-1) * encoder.point_embeddings[meaning].weight[0]
    return embedded
