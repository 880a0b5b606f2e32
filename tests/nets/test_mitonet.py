"""MitoNet as a detector: its settings, its normalisation and median, and TorchScript that answers otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.factories import make_detector, make_segmenter, weights_digest
from mitoscale.nets.mitonet import MitoNetConfig, median_of_slices, mitonet_config

SPACING = (20.0, 10.0, 10.0)


class Net(nn.Module):
    """Asked and answering as MitoNet; its logits are the normalised grey values, and tell the padding's size."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor, render_steps: int = 2, interpolate_ins: bool = True) -> dict[str, torch.Tensor]:
        assert x.size(2) % 16 == 0 and x.size(3) % 16 == 0 and render_steps == 2 and not interpolate_ins
        return {"sem_logits": x * self.gain, "ctr_hmp": x[:, :, ::4, ::4], "offsets": x[:, :, ::4, ::4].repeat(1, 2, 1, 1)}


class OneArgument(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Quarter(nn.Module):
    def forward(self, x: torch.Tensor, render_steps: int = 2, interpolate_ins: bool = True) -> dict[str, torch.Tensor]:
        return {"sem_logits": x[:, :, ::4, ::4]}


class Classes(nn.Module):
    def forward(self, x: torch.Tensor, render_steps: int = 2, interpolate_ins: bool = True) -> dict[str, torch.Tensor]:
        return {"semantic": x}


class Bare(nn.Module):
    def forward(self, x: torch.Tensor, render_steps: int = 2, interpolate_ins: bool = True) -> torch.Tensor:
        return x


def scripted(net: nn.Module, path: Path) -> str:
    torch.jit.save(torch.jit.script(net), path)
    return str(path)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 37, 50), dtype=np.uint8)


def probability(image: np.ndarray, mean: float = 0.57571, std: float = 0.12765) -> np.ndarray:
    return 1 / (1 + np.exp(-(image / 255.0 - mean) / std))


def test_a_slice_is_normalised_as_published_and_the_median_of_three_is_taken(tmp_path: Path, image: np.ndarray) -> None:
    detector = make_detector(DetectSettings(detector=scripted(Net(), tmp_path / "net.pth")), SPACING)
    each = probability(image)
    wanted = np.stack([each[0], np.median(each[0:3], axis=0), np.median(each[1:4], axis=0), each[3]])
    found = detector.foreground(image, Region.of_shape(image.shape))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_options_change_what_a_tuned_network_wants(tmp_path: Path, image: np.ndarray) -> None:
    options = {"mean": "0.5", "std": "0.2", "median": "1", "padding": "32"}
    settings = DetectSettings(detector=scripted(Net(), tmp_path / "net.pth"), options=options)
    found = make_detector(settings, SPACING).foreground(image, Region.of_shape(image.shape))
    np.testing.assert_allclose(found, probability(image, 0.5, 0.2), atol=1e-5)
    assert mitonet_config(Path("MitoNet_v1_mini.pth"), {}) == MitoNetConfig(padding=128)


def test_it_works_at_the_pixel_that_is_asked_for(tmp_path: Path) -> None:
    smooth = np.rint(127 + 100 * np.sin(np.mgrid[:3, :64, :80][2] / 9)).astype(np.uint8)
    settings = DetectSettings(detector=scripted(Net(), tmp_path / "net.pth"), pixel_nm=20.0)
    detector = make_detector(settings, SPACING)
    found = detector.foreground(smooth, Region.of_shape(smooth.shape))
    assert detector.windows.to_network(smooth, Region.of_shape(smooth.shape)).shape == (3, 32, 40)  # type: ignore[attr-defined]
    assert found.shape == smooth.shape and np.abs(found - probability(smooth))[:, 4:-4, 4:-4].max() < 0.06
    with pytest.raises(InputError, match=r"--detector-pixel 0.1 nm is not between"):
        make_detector(settings.model_copy(update={"pixel_nm": 0.1}), SPACING)


def test_large_slices_are_cut_into_windows_that_agree(tmp_path: Path) -> None:
    large = np.random.default_rng(1).integers(0, 256, (1, 40, 3000), dtype=np.uint8)
    detector = make_detector(DetectSettings(detector=scripted(Net(), tmp_path / "net.pth")), SPACING)
    np.testing.assert_allclose(detector.foreground(large, Region.of_shape(large.shape)), probability(large), atol=1e-5)


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (OneArgument, "it fails ("),
        (Quarter, "its sem_logits have shape (1, 1, 32, 32) for a window of (1, 1, 128, 128)"),
        (Classes, "it answers with a table of semantic; a table with sem_logits is wanted"),
        (Bare, "it answers with Tensor; a table with sem_logits is wanted"),
    ],
)
def test_torchscript_that_answers_otherwise_is_refused(tmp_path: Path, net: Callable[[], nn.Module], said: str) -> None:
    path = scripted(net(), tmp_path / "net.pth")
    with pytest.raises(InputError) as caught:
        make_detector(DetectSettings(detector=path), SPACING)
    assert said in str(caught.value) and "\n" not in str(caught.value) and f"{path} is no MitoNet" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no script", "state"])
def test_what_is_no_torchscript_is_refused(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "net.pth"
    if isinstance(content, str):
        torch.save({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"net.pth is damaged, or no TorchScript") as caught:
        make_detector(DetectSettings(detector=str(path)), SPACING)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"speed": "3"}, {"median": "2"}, {"std": "0"}, {"padding": "many"}, {"mean": "nan"}])
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(InputError, match="--detector-option"):
        mitonet_config(tmp_path / "net.pth", options)


def test_a_downloaded_mitonet_that_was_changed_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITOSCALE_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="mitoscale weights download mitonet_mini"):
        make_detector(DetectSettings(detector="mitonet_mini"), SPACING)
    path = scripted(Net(), tmp_path / "MitoNet_v1_mini.pth")
    (tmp_path / "MitoNet_v1_mini.pth.sha256").write_text(f"{weights_digest(path)}  MitoNet_v1_mini.pth\n")
    detector = make_detector(DetectSettings(detector="mitonet_mini"), SPACING)
    assert detector.config.padding == 128 and len(weights_digest("mitonet_mini")) == 64  # type: ignore[attr-defined]
    (tmp_path / "MitoNet_v1_mini.pth.sha256").write_text("0" * 64 + "  MitoNet_v1_mini.pth\n")
    with pytest.raises(InputError, match="is another file than was downloaded first"):
        make_detector(DetectSettings(detector="mitonet_mini", weights=weights_digest(path)), SPACING)


def test_names_given_to_the_other_option_are_told() -> None:
    with pytest.raises(InputError, match="weights mitonet are for --detector, not for --sam"):
        make_segmenter(SegmentSettings(sam="mitonet"), SPACING)
    with pytest.raises(InputError, match="weights vit_b are for --sam, not for --detector"):
        make_detector(DetectSettings(detector="vit_b"), SPACING)


def test_the_median_leaves_slices_without_enough_neighbours_alone() -> None:
    values = torch.tensor([[[3.0]], [[1.0]]])
    assert torch.equal(median_of_slices(values, 3), values) and torch.equal(median_of_slices(values, 1), values)
