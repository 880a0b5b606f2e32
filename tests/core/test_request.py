"""What is asked of a run: only what was given reaches the settings, and a misspelt name is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mitoscale.core.geometry import Region
from mitoscale.core.request import RunRequest
from mitoscale.core.settings import DetectSettings, RelabelSettings, SegmentSettings


def test_what_is_not_given_is_left_out() -> None:
    request = RunRequest()
    assert request.detect() == request.segment() == request.relabel() == {}


def test_zero_is_a_value() -> None:
    assert RunRequest(gate=0, min_volume=0, threshold=0).segment() == {"gate_nm": 0.0}
    assert RunRequest(min_volume=0).relabel() == {"min_volume_nm3": 0.0}


def test_each_name_is_one_of_its_stage() -> None:
    request = RunRequest(
        detector="a:b",
        detector_option={"k": "1"},
        threshold=0.4,
        segmenter="c:d",
        segmenter_option={"m": "2"},
        sam="e",
        sam_pixel=8,
        sam_step=10,
        gate=30,
        min_volume=5,
        labels_into_source=True,
    )
    assert DetectSettings(**request.detect()).options == {"k": "1"}
    segment = SegmentSettings(**request.segment())
    assert (segment.sam_pixel_nm, segment.sam_step_nm) == (8, 10)
    assert RelabelSettings(**request.relabel()).into_source


def test_a_misspelt_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="treshold"):
        RunRequest(treshold=0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "region",
    [
        "0:64,:512,8:",
        ((0, 64), (None, 512), (8, None)),
        np.s_[0:64, :512, 8:],
        [slice(0, np.int64(64)), [None, 512], slice(8, None, 1)],
    ],
)
def test_a_region_is_text_pairs_or_slices(region: Any) -> None:
    request = RunRequest(region=region)
    assert request.region is not None
    assert Region.parse(request.region, (70, 600, 700)) == Region(start=(0, 0, 8), stop=(64, 512, 700))


def test_arrays_texts_and_paths_are_taken() -> None:
    whole = Region.of_shape((4, 5, 6))
    assert RunRequest(region=whole).region == str(whole)  # type: ignore[arg-type]
    assert RunRequest(voxel_size="50,4.6,4.6").voxel_size == (50.0, 4.6, 4.6)  # type: ignore[arg-type]
    request = RunRequest(voxel_size=np.float32([5, 5, 5]), block=np.array([8, 16, 16]), detector=Path("mine.safetensors"))  # type: ignore[arg-type]
    assert request.voxel_size == (5.0, 5.0, 5.0) and request.block == (8, 16, 16) and request.detector == "mine.safetensors"


@pytest.mark.parametrize(
    "region", [(0, 64), ((0, 64), (0, 512)), np.s_[::2, :, :], ((0.5, 1), (0, 1), (0, 1)), 64, ((0, 1, 2),) * 3]
)
def test_what_is_no_region_is_refused_with_an_example(region: Any) -> None:
    with pytest.raises(ValidationError, match="three pairs or slices"):
        RunRequest(region=region)
