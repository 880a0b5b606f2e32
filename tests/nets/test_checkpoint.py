"""Weights on disk: what is saved is loaded, official checkpoints fit, and wrong files are refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from segment_anything import sam_model_registry

from mitoscale.core.errors import InputError
from mitoscale.core.file_digest import file_sha256
from mitoscale.nets.checkpoint import WeightsCard, load_sam, load_unet, save_weights
from mitoscale.nets.named_weights import embedded_names, find_weights
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.nets.unet import UNet, UNetConfig

UNET = UNetConfig(widths=(4, 8), context_nm=(0.0,))
SAM = SamConfig(image_size=64, width=24, depth=1, heads=2, embedding=32, decoder_mlp=32)


def card(architecture: str, config: UNetConfig | SamConfig) -> WeightsCard:
    return WeightsCard(architecture=architecture, config=config.model_dump(), pixel_nm=7.5, training={"steps": 3})


@pytest.fixture
def unet_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_weights(tmp_path / "unet.safetensors", UNet(UNET), card("unet", UNET))
    return tmp_path / "unet.safetensors"


def one_line(load: Callable[[str], object], path: Path | str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        load(str(path))
    message = str(caught.value)
    assert problem in message and "\n" not in message and Path(path).name in message


@pytest.mark.parametrize(("kind", "model", "config", "load"), [("unet", UNet, UNET, load_unet), ("sam", Sam, SAM, load_sam)])
def test_what_is_saved_is_loaded_as_float16(tmp_path: Path, kind: str, model: type, config: UNetConfig, load: Callable) -> None:
    saved = model(config)
    path = tmp_path / "mine.safetensors"
    save_weights(path, saved, card(kind, config))
    assert {p.name for p in tmp_path.iterdir()} == {path.name}
    floating = [v.dtype for v in load_file(path).values() if v.dtype.is_floating_point]
    assert set(floating) == {torch.float16}
    loaded, found = load(str(path))
    assert found == WeightsCard.model_validate_json(card(kind, config).model_dump_json())
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    for name, value in saved.state_dict().items():
        got = loaded.state_dict()[name]
        assert got.dtype == value.dtype
        assert torch.equal(got, value.half().to(value.dtype)), name


def test_the_embedded_weights_are_found_and_load() -> None:
    assert {"unet-small", "sam-small"} <= set(embedded_names())
    for name, load in {"unet-small": load_unet, "sam-small": load_sam}.items():
        _, found = load(name)
        assert found.pixel_nm and found.training
        assert len(file_sha256(find_weights(name))) == 64


@pytest.mark.slow
def test_an_official_checkpoint_loads(tmp_path: Path) -> None:
    """A file as the package writes and reads it, with random weights: ViT-B, 375 MB."""
    official = sam_model_registry["vit_b"]()
    path = tmp_path / "sam_vit_b.pth"
    try:
        torch.save(official.state_dict(), path)
        model, found = load_sam(str(path))
    finally:
        path.unlink(missing_ok=True)
    assert found.training == {"official": "vit_b"} and found.pixel_nm is None
    wanted, got = official.state_dict(), model.state_dict()
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    kinds = [type(m).__name__ for m in model.modules()]  # but for the attention, whose test compares the results
    assert [type(m).__name__ for m in official.modules()] == [k.replace("FusedAttention", "Attention") for k in kinds]


def test_weights_of_the_other_network_are_refused(tmp_path: Path, unet_file: Path) -> None:
    one_line(load_sam, unet_file, "are of a unet, but a sam is wanted")
    save_weights(tmp_path / "sam.safetensors", Sam(SAM), card("sam", SAM))
    one_line(load_unet, tmp_path / "sam.safetensors", "are of a sam, but a unet is wanted")
    torch.save(UNet(UNET).state_dict(), tmp_path / "unet.pth")
    one_line(load_sam, tmp_path / "unet.pth", "is no SAM of type vit_t, vit_b")


def test_neither_a_name_nor_a_file(tmp_path: Path) -> None:
    one_line(load_unet, "unet-huge", "neither a file nor embedded; embedded are: ")
    one_line(load_sam, tmp_path / "none.pth", "neither a file nor embedded")
    one_line(load_sam, tmp_path, "neither a file nor embedded")


@pytest.mark.parametrize("length", [0, 7, 200, 3000])
def test_a_truncated_file_is_refused(tmp_path: Path, unet_file: Path, length: int) -> None:
    for load, source in ((load_unet, unet_file), (load_sam, tmp_path / "whole.pth")):
        if not source.exists():
            torch.save({"image_encoder.pos_embed": torch.zeros(1, 4, 4, 768)}, source)
        cut = tmp_path / f"cut{source.suffix}"
        cut.write_bytes(source.read_bytes()[:length])
        one_line(load, cut, "cannot be read")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("seed", range(6))
def test_a_file_of_noise_is_refused(tmp_path: Path, suffix: str, seed: int) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(np.random.default_rng(seed).bytes(500))
    one_line(load_sam, path, "cannot be read")


def test_a_text_or_a_foreign_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.pth").write_text("<html>404 Not Found</html>")
    one_line(load_sam, tmp_path / "page.pth", "download it again")
    save_weights(tmp_path / "renamed.safetensors", Sam(SAM), card("sam", SAM))
    (tmp_path / "renamed.safetensors").rename(tmp_path / "renamed.pth")
    one_line(load_sam, tmp_path / "renamed.pth", "is a safetensors file: rename it")
    torch.save({"epoch": 3, "model": {"a": torch.zeros(1)}}, tmp_path / "nested.pth")
    one_line(load_sam, tmp_path / "nested.pth", "not a table of tensors")
    torch.save(UNet(UNET), tmp_path / "whole_module.pth")
    one_line(load_sam, tmp_path / "whole_module.pth", "not a table of tensors")


def test_an_incomplete_official_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 123)}, tmp_path / "odd.pth")
    one_line(load_sam, tmp_path / "odd.pth", "is no SAM of type")


def rewrite(path: Path, state: dict[str, torch.Tensor], header: dict[str, object] | None) -> None:
    save_file(state, path, metadata=None if header is None else {"mitoscale": json.dumps(header)})


@pytest.mark.parametrize(("name", "width", "kind"), [("sam_vit_l_0b3195.pth", 768, "vit_b"), ("my_vit_b.pth", 1280, "vit_h")])
def test_an_official_checkpoint_of_another_type_than_named_is_refused(tmp_path: Path, name: str, width: int, kind: str) -> None:
    path = tmp_path / name
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, width)}, path)
    one_line(load_sam, path, f"but its tensors are of a {kind}: rename it, or download it again")


def test_weights_that_do_not_fit_are_refused(unet_file: Path) -> None:
    state, header = load_file(unet_file), card("unet", UNET).model_dump(mode="json")
    name = next(n for n in state if n.endswith("weight"))
    cases = [
        ({k: v for k, v in state.items() if k != name}, header, "1 tensors missing"),
        (state | {"extra": torch.zeros(1)}, header, "1 unknown"),
        (state | {name: torch.zeros(3)}, header, "1 of another shape"),
        (state, header | {"config": {"widths": [4, 8, 16], "context_nm": [0.0]}}, "another architecture"),
        (state, header | {"config": {"widths": "many"}}, "unknown architecture"),
        (state, header | {"config": {"colour": 1}}, "unknown architecture"),
        (state | {name: torch.full_like(state[name], float("nan"))}, header, "not finite"),
        (state | {name: torch.full_like(state[name], float("inf"))}, header, "not finite"),
        (state, header | {"format": 99}, "update mitoscale"),
        (state, {"format": 1}, "no mitoscale header"),
        (state, None, "no mitoscale header"),
    ]
    for values, changed, problem in cases:
        rewrite(unet_file, values, changed)
        one_line(load_unet, unet_file, problem)


def test_a_header_that_is_no_table_is_refused(unet_file: Path) -> None:
    save_file(load_file(unet_file), unet_file, metadata={"mitoscale": "{broken"})
    one_line(load_unet, unet_file, "no mitoscale header")
