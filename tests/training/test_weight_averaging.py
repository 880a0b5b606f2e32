"""The mean of what training started from and what it made."""

from __future__ import annotations

import pytest
import torch

from mitoscale.nets.unet import UNet, UNetConfig
from mitoscale.training.weight_averaging import blended

CONFIG = UNetConfig(widths=(4, 8), context_nm=(0.0,))


@pytest.fixture
def networks() -> tuple[UNet, UNet]:
    """End and start, both with statistics of a batch or two."""
    torch.manual_seed(0)
    end, start = UNet(CONFIG), UNet(CONFIG)
    for network, batches in ((end, 2), (start, 1)):
        for _ in range(batches):
            network.train()(torch.rand(2, 1, 16, 16))
    return end, start


@pytest.mark.parametrize("keep", [0.0, 0.3, 1.0])
def test_each_value_lies_between_both(networks: tuple[UNet, UNet], keep: float) -> None:
    end, start = networks
    before = {name: value.clone() for name, value in end.state_dict().items()}
    result = blended(end, start, keep)
    assert not result.training
    for name, value in result.state_dict().items():
        if value.dtype.is_floating_point:
            torch.testing.assert_close(value, before[name] * (1 - keep) + start.state_dict()[name] * keep)
        else:
            assert torch.equal(value, before[name]), "counters are the end's"
        assert torch.equal(end.state_dict()[name], before[name]), "the trained network stays as it is"
