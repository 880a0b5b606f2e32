"""What is asked of a run: only what was given reaches the settings, and a misspelt name is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

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
        gate=30,
        min_volume=5,
        labels_into_source=True,
    )
    assert DetectSettings(**request.detect()).options == {"k": "1"}
    assert SegmentSettings(**request.segment()).sam_pixel_nm == 8
    assert RelabelSettings(**request.relabel()).into_source


def test_a_misspelt_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="treshold"):
        RunRequest(treshold=0.5)  # type: ignore[call-arg]
