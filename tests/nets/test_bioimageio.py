"""Model folders of bioimage.io as detectors: both formats, both kinds of weights, and what is told of unusable ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings
from mitoscale.nets.factories import make_detector, weights_digest

SPACING = (10.0, 10.0, 10.0)

CODE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, channels=2):
        super().__init__()
        self.a = nn.Conv2d(1, channels, 3, padding=1)
    def forward(self, x):
        return self.a(x)
"""


class Net2D(nn.Module):
    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.size(2) % 8 == 0 and x.size(3) % 8 == 0
        return self.a(x)


class Net3D(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.size(2) == 16 and x.size(3) == 32 and x.size(4) == 32
        return self.a(x)


def axes5(names: str, size: Any, channels: list[str], **more: Any) -> list[dict[str, Any]]:
    space = [{"type": "space", "id": name, "size": size, **more} for name in names]
    return [{"type": "batch"}, {"type": "channel", "channel_names": channels}, *space]


def description5() -> dict[str, Any]:
    return {
        "type": "model",
        "format_version": "0.5.4",
        "inputs": [
            {
                "id": "raw",
                "axes": axes5("yx", {"min": 16, "step": 8}, ["raw"]),
                "data": {"type": "uint8"},
                "preprocessing": [{"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"]}}],
            }
        ],
        "outputs": [
            {
                "id": "out",
                "axes": axes5("yx", {"tensor_id": "raw", "axis_id": "y"}, ["membrane", "mito"], halo=4),
                "postprocessing": [{"id": "sigmoid"}],
            }
        ],
        "weights": {},
    }


def description4() -> dict[str, Any]:
    return {
        "type": "model",
        "format_version": "0.4.10",
        "inputs": [
            {
                "name": "raw",
                "axes": "bcyx",
                "data_type": "float32",
                "data_range": ["-inf", "inf"],
                "shape": {"min": [1, 1, 16, 16], "step": [0, 0, 8, 8]},
                "preprocessing": [{"name": "scale_linear", "kwargs": {"gain": 0.01, "offset": -1.0, "axes": "yx"}}],
            }
        ],
        "outputs": [
            {
                "name": "out",
                "axes": "bcyx",
                "halo": [0, 0, 4, 4],
                "shape": {"reference_tensor": "raw", "scale": [1, 0, 1, 1], "offset": [0, 1, 0, 0]},
                "postprocessing": [{"name": "sigmoid"}],
            }
        ],
        "weights": {},
    }


def with_script(folder: Path, net: nn.Module, content: dict[str, Any]) -> str:
    folder.mkdir(exist_ok=True)
    torch.jit.save(torch.jit.script(net), folder / "net.pt")
    digest = hashlib.sha256((folder / "net.pt").read_bytes()).hexdigest()
    content["weights"] = {"torchscript": {"source": "https://example.org/files/net.pt", "sha256": digest}}
    (folder / "rdf.yaml").write_text(yaml.safe_dump(content))
    return f"bioimageio:{folder}"


def with_state(folder: Path, content: dict[str, Any], architecture: dict[str, Any]) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "arch.py").write_text(CODE)
    torch.save(Net2D().state_dict(), folder / "state.pt")
    content["weights"] = {"pytorch_state_dict": {"source": "state.pt", **architecture}}
    (folder / "bioimageio.yaml").write_text(yaml.safe_dump(content))
    return f"bioimageio:{folder}"


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 44, 61), dtype=np.uint8)


def ask(name: str, image: np.ndarray, **options: str) -> np.ndarray:
    detector = make_detector(DetectSettings(detector=name, options=options), SPACING)
    return detector.foreground(image, Region.of_shape(image.shape))


def inner(values: np.ndarray) -> np.ndarray:
    """Without the edge, where what lies beyond is the publisher's zeros or this project's mirror image."""
    return values[..., 2:-2, 2:-2]


@pytest.mark.parametrize("channel", ["mito", "1"])
def test_a_model_of_format_5_in_torchscript(tmp_path: Path, image: np.ndarray, channel: str) -> None:
    torch.manual_seed(0)
    net = Net2D()
    found = ask(with_script(tmp_path / "model", net, description5()), image, channel=channel)
    values = torch.from_numpy(image.astype(np.float32))
    values = (values - values.mean()) / (values.std(correction=0) + 1e-6)
    wanted = net.a(values[:, None]).sigmoid()[:, 1].detach().numpy()
    assert found.dtype == np.float32 and found.shape == image.shape
    np.testing.assert_allclose(inner(found), inner(wanted), atol=1e-5)


@pytest.mark.parametrize(
    "architecture",
    [
        {"architecture": "arch.py:Net", "kwargs": {"channels": 2}},
        {"architecture": {"source": "arch.py", "callable": "Net", "kwargs": {"channels": 2}}},
    ],
)
def test_a_model_of_format_4_as_a_state_dict(tmp_path: Path, image: np.ndarray, architecture: dict[str, Any]) -> None:
    torch.manual_seed(1)
    name = with_state(tmp_path / "model", description4(), architecture)
    net = Net2D()
    net.load_state_dict(torch.load(tmp_path / "model" / "state.pt", weights_only=True))
    values = torch.from_numpy(image.astype(np.float32))[:, None] * 0.01 - 1
    wanted = net.a(values).sigmoid()[:, 0].detach().numpy()
    np.testing.assert_allclose(inner(ask(name, image, channel="0")), inner(wanted), atol=1e-5)
    with pytest.raises(InputError, match=r"2 channels, 0, 1; say which is foreground: --detector-option channel=0"):
        ask(name, image)


def test_a_model_of_volumes_in_windows_of_one_size(tmp_path: Path) -> None:
    torch.manual_seed(2)
    image = np.random.default_rng(0).integers(0, 256, (20, 40, 70), dtype=np.uint8)
    content, net = description5(), Net3D()
    sizes = {"z": 16, "y": 32, "x": 32}
    space = [{"type": "space", "id": n, "size": s, "scale": 0.01, "unit": "micrometer"} for n, s in sizes.items()]
    content["inputs"][0] |= {
        "axes": [{"type": "batch"}, {"type": "channel", "channel_names": ["raw"]}, *space],
        "preprocessing": [],
    }
    content["inputs"][0]["data"] = {"type": "float32", "range": [0.0, 1.0]}
    content["outputs"][0]["axes"] = axes5("zyx", {"tensor_id": "raw", "axis_id": "y"}, ["mito"], halo=2)
    name = with_script(tmp_path / "model", net, content)
    wanted = net.a(torch.from_numpy(image.astype(np.float32) / 255)[None, None]).sigmoid()[0, 0].detach().numpy()
    found = ask(name, image)
    # A window's edge is the network's zeros; it counts a thousandth where windows overlap.
    np.testing.assert_allclose(found[2:-2, 2:-2, 2:-2], wanted[2:-2, 2:-2, 2:-2], atol=2e-3)
    told = make_detector(DetectSettings(detector=name), (10.0, 5.0, 5.0)).windows.ratios  # type: ignore[attr-defined]
    assert told == pytest.approx((1.0, 2.0, 2.0))
    asked = make_detector(DetectSettings(detector=name, pixel_nm=20.0), SPACING).windows.ratios  # type: ignore[attr-defined]
    assert asked == pytest.approx((1.0, 2.0, 2.0))


def test_percentiles_are_of_the_whole_region(tmp_path: Path, image: np.ndarray) -> None:
    content, net = description5(), Net2D()
    content["inputs"][0]["preprocessing"] = [{"id": "scale_range", "kwargs": {"min_percentile": 1, "max_percentile": 99}}]
    found = ask(with_script(tmp_path / "model", net, content), image, channel="mito")
    low, high = np.percentile(image, (1, 99))
    values = torch.from_numpy((image.astype(np.float32) - low) / (high - low + 1e-6)).float()
    np.testing.assert_allclose(inner(found), inner(net.a(values[:, None]).sigmoid()[:, 1].detach().numpy()), atol=1e-5)


def no_description(content: dict[str, Any], folder: Path) -> None:
    (folder / "rdf.yaml").unlink()


def no_yaml(content: dict[str, Any], folder: Path) -> None:
    (folder / "rdf.yaml").write_text("a: [")


def other_format(content: dict[str, Any], folder: Path) -> None:
    del content["outputs"]


def a_dataset(content: dict[str, Any], folder: Path) -> None:
    content["type"] = "dataset"


def two_inputs(content: dict[str, Any], folder: Path) -> None:
    content["inputs"] *= 2


def only_onnx(content: dict[str, Any], folder: Path) -> None:
    content["weights"] = {"onnx": {"source": "net.onnx"}}


def weights_missing(content: dict[str, Any], folder: Path) -> None:
    (folder / "net.pt").unlink()


def weights_changed(content: dict[str, Any], folder: Path) -> None:
    (folder / "net.pt").write_bytes(b"other")


def unknown_step(content: dict[str, Any], folder: Path) -> None:
    content["inputs"][0]["preprocessing"] = [{"id": "scale_mean_variance"}]


def over_time(content: dict[str, Any], folder: Path) -> None:
    content["inputs"][0]["axes"].append({"type": "time", "size": 1})


def broken_architecture(content: dict[str, Any], folder: Path) -> None:
    (folder / "arch.py").write_text("raise SystemError('old code')")
    content["weights"] = {"pytorch_state_dict": {"source": "net.pt", "architecture": {"source": "arch.py", "callable": "Net"}}}


def other_layout(content: dict[str, Any], folder: Path) -> None:
    (folder / "arch.py").write_text(CODE)
    torch.save({"b": torch.zeros(1)}, folder / "state.pt")
    content["weights"] = {"pytorch_state_dict": {"source": "state.pt", "architecture": {"source": "arch.py", "callable": "Net"}}}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_description, "it has no rdf.yaml and no bioimageio.yaml"),
        (no_yaml, "it is no YAML"),
        (other_format, "is it of format 0.4 or 0.5?"),
        (a_dataset, "describes a dataset; a model is wanted"),
        (two_inputs, "has 2 inputs; models with one are usable"),
        (only_onnx, "no usable weights: torchscript or pytorch_state_dict is wanted, there is onnx"),
        (weights_missing, "which is not there: download the whole model"),
        (weights_changed, "is promised by its model: download the model again"),
        (unknown_step, "its preprocessing step 'scale_mean_variance' is none of"),
        (over_time, "of others only b, c and z"),
        (broken_architecture, "cannot be made (SystemError: old code)"),
        (other_layout, "does not fit its model's architecture"),
    ],
)
def test_an_unusable_model_is_told_in_one_line(tmp_path: Path, spoil: Callable[[dict[str, Any], Path], None], said: str) -> None:
    content, folder = description5(), tmp_path / "model"
    name = with_script(folder, Net2D(), content)
    spoil(content, folder)
    if spoil not in (no_description, no_yaml):
        (folder / "rdf.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as caught:
        make_detector(DetectSettings(detector=name, options={"channel": "mito"}), SPACING)
    assert said in str(caught.value) and "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_packed_model_and_wrong_options_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="is a file: unpack it, then give bioimageio:FOLDER"):
        weights_digest(f"bioimageio:{tmp_path / 'model.zip'}")
    name = with_script(tmp_path / "model", Net2D(), description5())
    with pytest.raises(InputError, match="channels membrane, mito"):
        make_detector(DetectSettings(detector=name, options={"channel": "nucleus"}), SPACING)
    with pytest.raises(InputError, match=r"--detector-option speed: a model of bioimage.io takes channel"):
        make_detector(DetectSettings(detector=name, options={"speed": "1"}), SPACING)


class Halved(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, ::2, ::2]


def test_an_answer_of_another_size_fails_its_block(tmp_path: Path, image: np.ndarray) -> None:
    content = description5()
    content["outputs"][0]["axes"] = axes5("yx", {"tensor_id": "raw", "axis_id": "y"}, ["mito"])
    with pytest.raises(BlockError, match=r"answers \(c, z, y, x\) \(1, 1, 24, 32\) for a window of \(1, 48, 64\)"):
        ask(with_script(tmp_path / "model", Halved(), content), image)


def test_each_file_of_a_model_counts_in_its_digest(tmp_path: Path) -> None:
    name = with_script(tmp_path / "model", Net2D(), description5())
    first = weights_digest(name)
    assert len(first) == 64 and first == weights_digest(name)
    (tmp_path / "model" / "arch.py").write_text(CODE)
    assert weights_digest(name) != first
