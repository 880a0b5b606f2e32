"""The fused attention gives what the package's gives, and learns as it does."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

from mitoscale.nets.attention import FusedAttention


@pytest.fixture(params=[(16, 16), (14, 14), (5, 7)])
def pair(request: pytest.FixtureRequest) -> tuple[Attention, FusedAttention, torch.Tensor]:
    torch.manual_seed(0)
    height, width = request.param
    theirs = Attention(48, num_heads=3, use_rel_pos=True, input_size=(height, width))
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return theirs, FusedAttention(theirs), torch.randn(2, height, width, 48)


def test_the_same_result(pair: tuple[Attention, FusedAttention, torch.Tensor]) -> None:
    theirs, ours, tokens = pair
    torch.testing.assert_close(ours(tokens), theirs(tokens), atol=1e-4, rtol=1e-4)


def test_the_same_gradients(pair: tuple[Attention, FusedAttention, torch.Tensor]) -> None:
    theirs, ours, tokens = pair
    gradients = []
    for attention in (theirs, ours):
        theirs.zero_grad()
        attention(tokens).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in theirs.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() == dict(ours.named_parameters()).keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-2, rtol=1e-3)


def test_the_same_names(pair: tuple[Attention, FusedAttention, torch.Tensor]) -> None:
    theirs, ours, _ = pair
    assert ours.state_dict().keys() == theirs.state_dict().keys()
