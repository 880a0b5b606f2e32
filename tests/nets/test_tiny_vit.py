"""MobileSAM's image encoder answers as MobileSAM's own code does, and its checkpoints fit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from sines import sines, window

from mitoscale.core.errors import InputError
from mitoscale.nets.checkpoint import load_sam
from mitoscale.nets.sam import PRESETS, Sam, SamConfig
from mitoscale.nets.tiny_vit import TinyViT

NAMES = "3837e3a72c0d99eee7a4766279d9b831389f9cff46ad52c8152470823e8e43ee"
"""SHA-256 of the names and shapes in MobileSAM's own encoder, but for its classifier head (mobilesam-lite 0.1.2)."""

# fmt: off
ANSWER = [
    -0.71024, 0.78077, -1.16959, -0.58092, -2.21016, 0.07069, -0.14235, -1.21003, 1.15931, 0.23318,
    1.21284, 2.29325, -1.75713, -0.19864, 1.82747, 0.70417, -0.27003, 0.75577, -0.49674, -1.05742,
    -0.37235, -0.50345, 0.15792, -0.16189, 1.39154, 1.58254, -0.22212, 0.86888,
]
# fmt: on
"""Part of what MobileSAM's own encoder makes of the picture with the weights of :mod:`sines`."""

SMALL = SamConfig(encoder="tiny_vit", image_size=256, decoder_mlp=64)


@pytest.fixture(scope="module")
def small() -> Sam:
    model = Sam(SMALL).eval().requires_grad_(False)
    model.image_encoder.load_state_dict(sines(model.image_encoder.state_dict()))
    return model


def test_parameters_are_mobile_sams() -> None:
    own = sorted((name, tuple(value.shape)) for name, value in TinyViT().state_dict().items())
    assert hashlib.sha256(repr(own).encode()).hexdigest() == NAMES


def test_a_window_is_embedded_as_mobile_sam_does(small: Sam) -> None:
    embedding = small.encode(torch.from_numpy(window(256))[None])
    assert embedding.shape == (1, 256, 16, 16)
    np.testing.assert_allclose(embedding[0, ::37, ::7, ::5].flatten()[::3].numpy(), ANSWER, atol=1e-4)


def test_windows_of_a_batch_do_not_see_each_other(small: Sam) -> None:
    both = torch.stack([torch.from_numpy(window(256)), torch.full((256, 256), 90, dtype=torch.uint8)])
    torch.testing.assert_close(small.encode(both)[1:], small.encode(both[1:]), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all that MobileSAM's has: SAM's parameters, the encoder's classifier head, and the pixel statistics."""
    state = sines(Sam(PRESETS["vit_t"]).state_dict())
    head = {"norm_head.weight": (320,), "norm_head.bias": (320,), "head.weight": (1000, 320), "head.bias": (1000,)}
    state |= {f"image_encoder.{name}": torch.zeros(shape) for name, shape in head.items()}
    path = tmp_path_factory.mktemp("vit_t") / "vit_t_em_organelles.pt"
    torch.save(state | {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}, path)
    return path


def test_a_checkpoint_of_mobile_sam_is_loaded(checkpoint: Path) -> None:
    model, card = load_sam(str(checkpoint))
    assert card.training == {"official": "vit_t"} and card.pixel_nm is None and model.config == PRESETS["vit_t"]
    wanted = torch.load(checkpoint, weights_only=True)
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


def test_a_checkpoint_that_lacks_something_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    del state["image_encoder.layers.3.blocks.1.attn.qkv.bias"]
    torch.save(state, tmp_path / "cut.pt")
    with pytest.raises(InputError, match=r"do not fit the network \(1 tensors missing, 0 unknown, 0 of another shape"):
        load_sam(str(tmp_path / "cut.pt"))
