"""Detectors and segmenters by name: the embedded ones, anyone's own, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.factories import is_factory, load_factory, make_detector, make_segmenter, weights_digest
from mitoscale.nets.predictors import Detector, MaskSegmenter, VolumeSegmenter

SPACING = (10.0, 10.0, 10.0)

LAB = """
import numpy as np

class Threshold:
    def __init__(self, level="100"):
        self.level = float(level)
    def foreground(self, image, region):
        return (image < self.level).astype(np.float32)

class Model3D:
    def fragments(self, image, foreground, region):
        return (foreground > 0.5).astype(np.uint32)

class Model2D:
    def masks(self, image, foreground, prompts, region):
        return [[] for plane in image]

def nothing(**options):
    return object()
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of someone's own models."""
    (tmp_path / "lab_models_of_a_test.py").write_text(LAB)
    (tmp_path / "broken_lab_of_a_test.py").write_text("import no_such_package_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "lab_models_of_a_test"
    sys.modules.pop("lab_models_of_a_test", None)


def test_the_protocols_need_no_torch() -> None:
    """A lab's own model, and every command but those that compute, must not pay for importing torch."""
    code = "import sys, mitoscale.nets.factories as p; p.is_factory('a:b'); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lab:make", True),
        ("my_lab.models:mitonet", True),
        ("unet-small", False),
        ("/data/mine.safetensors", False),
        ("C:\\mine.safetensors", False),
        ("a b:c", False),
        ("lab:", False),
        (":make", False),
        ("lab:a.b", False),
    ],
)
def test_what_is_a_factory(name: str, expected: bool) -> None:
    assert is_factory(name) is expected


def test_a_factory_gets_its_options(lab: str) -> None:
    detector = make_detector(DetectSettings(detector=f"{lab}:Threshold", options={"level": "50"}), SPACING)
    assert isinstance(detector, Detector)
    image = np.array([[[10, 200]]], np.uint8)
    assert detector.foreground(image, Region.of_shape((1, 1, 2))).tolist() == [[[1.0, 0.0]]]
    assert isinstance(make_segmenter(SegmentSettings(segmenter=f"{lab}:Model3D"), SPACING), VolumeSegmenter)
    assert isinstance(make_segmenter(SegmentSettings(segmenter=f"{lab}:Model2D"), SPACING), MaskSegmenter)
    assert weights_digest(f"{lab}:Model2D") == ""


def test_wrong_factories_are_refused(lab: str) -> None:
    with pytest.raises(InputError, match="no method foreground"):
        make_detector(DetectSettings(detector=f"{lab}:Model3D"), SPACING)
    with pytest.raises(InputError, match="neither a method masks nor fragments"):
        make_segmenter(SegmentSettings(segmenter=f"{lab}:nothing"), SPACING)
    for name in ("no_such_lab:make", f"{lab}:no_such_model", "broken_lab_of_a_test:make"):
        with pytest.raises(InputError, match=r"cannot be imported|no function no_such_model") as caught:
            load_factory(name)
        assert "\n" not in str(caught.value)


def test_the_embedded_predictors() -> None:
    assert isinstance(make_detector(DetectSettings(), SPACING), Detector)
    segmenter = make_segmenter(SegmentSettings(), SPACING)
    assert isinstance(segmenter, MaskSegmenter) and not isinstance(segmenter, VolumeSegmenter)
    assert make_segmenter(SegmentSettings(segmenter="unet"), SPACING) is None
    assert all(make_segmenter(SegmentSettings(sam_pixel_nm=nm), SPACING) is not None for nm in (1.25, 320.0))
    assert len(weights_digest("sam-small")) == 64


def test_a_network_is_loaded_once() -> None:
    first, second = (make_detector(DetectSettings(), s) for s in (SPACING, (50.0, 5.0, 5.0)))
    assert first.model is second.model  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (DetectSettings(detector="unet-huge"), "neither a file nor embedded"),
        (DetectSettings(detector="sam-small"), "a unet is wanted"),
        (SegmentSettings(segmenter="sma"), "none of sam, unet"),
        (SegmentSettings(sam="unet-small"), "a sam is wanted"),
        (SegmentSettings(sam="/no/such/sam_vit_b.pth"), "neither a file nor embedded"),
        (SegmentSettings(sam_pixel_nm=1.2), r"--sam-pixel 1\.2 nm is not between 1\.25 and 320 nm"),
        (SegmentSettings(sam_pixel_nm=321), "--sam-pixel 321 nm is not between"),
    ],
)
def test_unknown_predictors_are_refused(settings: DetectSettings | SegmentSettings, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        if isinstance(settings, DetectSettings):
            make_detector(settings, SPACING)
        else:
            make_segmenter(settings, SPACING)
