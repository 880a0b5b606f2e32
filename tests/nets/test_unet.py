"""The U-Net: shapes, context channels and presets."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from mitoscale.nets.checkpoint import load_unet
from mitoscale.nets.unet import PRESETS, UNet, UNetConfig, folded, folded_normalisation


@pytest.mark.parametrize("widths", [(4, 8), (4, 8, 8), (2, 4, 6, 8, 8)])
@pytest.mark.parametrize("context", [(0.0,), (-20.0, 0.0, 20.0)])
@pytest.mark.parametrize("normalise", [True, False])
def test_the_answer_has_the_size_of_the_question(widths: tuple[int, ...], context: tuple[float, ...], normalise: bool) -> None:
    model = UNet(UNetConfig(widths=widths, context_nm=context, normalise=normalise)).eval()
    assert model.stride == 2 ** (len(widths) - 1)
    for height, width in [(1, 1), (2, 3)]:
        image = torch.rand(2, len(context), height * model.stride, width * model.stride)
        assert model(image).shape == (2, 1, *image.shape[2:])


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_a_folded_network_answers_for_every_pixel(fold: int) -> None:
    model = UNet(UNetConfig(widths=(4, 8), fold=fold)).eval()
    assert model.stride == 2 * fold
    assert model(torch.rand(2, 5, 4 * fold, 6 * fold)).shape == (2, 1, 4 * fold, 6 * fold)


@pytest.mark.parametrize("fold", [2, 4])
def test_a_folded_network_begins_as_the_coarse_one(fold: int) -> None:
    coarse = UNet(UNetConfig(widths=(4, 8, 8))).eval()
    image = torch.rand(1, 5, 8 * fold, 16 * fold)
    expected = coarse(torch.nn.functional.avg_pool2d(image, fold)).repeat_interleave(fold, 2).repeat_interleave(fold, 3)
    assert torch.allclose(folded(coarse, fold).eval()(image), expected, atol=1e-5)
    with pytest.raises(ValueError, match="fold"):
        folded(folded(coarse, 2), 2)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_folded_normalisation_changes_nothing(normalise: bool) -> None:
    torch.manual_seed(0)
    model = UNet(UNetConfig(widths=(4, 8), normalise=normalise))
    image = torch.rand(2, 5, 16, 16)
    for _ in range(3):
        model(image)  # statistics that are not 0 and 1
    quick = folded_normalisation(model.eval())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in quick.modules())
    assert torch.allclose(quick(image), model(image), atol=1e-5)
    assert normalise == any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules()), "the trained one stays as it is"


def test_presets() -> None:
    """The first origin report's network: widths 64 to 1024, one slice, no normalisation."""
    report = PRESETS["report"]
    assert report.widths == (64, 128, 256, 512, 1024)
    assert report.context_nm == (0.0,) and not report.normalise
    assert 0.0 in PRESETS["small"].context_nm
    with torch.device("meta"):
        model = UNet(report)
    assert [block[0].out_channels for block in model.down] == list(report.widths)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        UNetConfig(depth=4)  # type: ignore[call-arg]


def test_bfloat16_agrees_with_float32() -> None:
    model, card = load_unet("unet-small")
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 5, 16, 16, generator=generator), (128, 128), mode="bicubic")
    image = (smooth + 0.05 * torch.randn(1, 5, 128, 128, generator=generator)).clamp(0, 1)
    assert len(card.config["context_nm"]) == image.shape[1]
    with torch.inference_mode():
        exact = model(image).sigmoid()
        with torch.autocast("cpu", torch.bfloat16):
            fast = model(image).float().sigmoid()
    assert (exact - fast).abs().mean() < 0.02
