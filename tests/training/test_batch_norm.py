"""Statistics of the normalisation estimated anew."""

from __future__ import annotations

import torch

from mitoscale.nets.unet import UNet, UNetConfig
from mitoscale.training.batch_norm import estimated_anew


def network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(widths=(4, 8), context_nm=(0.0,))).eval()


def test_a_network_answers_on_duller_images_as_on_the_sharp_ones_it_knew() -> None:
    images = torch.rand(6, 1, 64, 64)
    known = estimated_anew(network(), images.split(1))
    dull = images * 0.3 + 0.5
    with torch.no_grad():
        wanted, without = known(images), known(dull)
        found = estimated_anew(known, dull.split(1))(dull)
    # The first convolution pads with zeros, which are another grey value there: the border may differ.
    inner = (..., slice(24, 40), slice(24, 40))
    assert (found - wanted)[inner].abs().mean() < 0.2 * (without - wanted)[inner].abs().mean()


def test_a_part_of_the_statistics_stays() -> None:
    start, images = network(), torch.rand(3, 1, 16, 16)
    none, half, whole = (estimated_anew(start, images.split(1), part) for part in (0.0, 0.5, 1.0))
    first = [dict(m.named_buffers())["down.0.1.running_mean"] for m in (start, none, half, whole)]
    torch.testing.assert_close(first[1], first[0])
    torch.testing.assert_close(first[2], (first[0] + first[3]) / 2)
    assert not torch.equal(first[3], first[0])


def test_weights_and_the_network_that_was_given_stay() -> None:
    start = network()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    after = estimated_anew(start, torch.rand(3, 1, 16, 16).split(1))
    for name, value in start.state_dict().items():
        assert torch.equal(value, before[name])
    for (name, value), other in zip(start.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(value, other), name
    assert not after.training
