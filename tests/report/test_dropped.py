"""Where little or nothing is left of what was found, one line says which setting did that."""

from __future__ import annotations

from typing import Any

import pytest

from mitoscale.core.geometry import Region
from mitoscale.core.settings import ConvertSettings, RunSettings, SegmentSettings
from mitoscale.report.dropped import told


def settings(**segment: Any) -> RunSettings:
    convert = ConvertSettings(
        source="a.tif", fingerprint="0", spacing=(5, 4, 4), core=(8, 8, 8), chunks=(8, 8, 8), region=Region.of_shape((8, 8, 8))
    )
    return RunSettings(convert=convert, segment=SegmentSettings(**segment))


def lines(relabel: dict[str, float], detections: float = 5, **segment: Any) -> list[str]:
    return told({"detect": {"detections": detections}, "segment": {}, "relabel": relabel}, settings(**segment))


def test_nothing_is_said_where_all_is_kept_or_nothing_is_known() -> None:
    assert lines({"objects": 3, "dropped": 0, "largest_dropped_nm3": 0}) == lines({}) == []


@pytest.mark.parametrize("volume", [2.0, 5e3, 9.96e5, 1.667e5, 1.06e5])
def test_the_volume_that_is_named_keeps_the_largest(volume: float) -> None:
    (line,) = lines({"objects": 0, "dropped": 7, "largest_dropped_nm3": volume})
    assert line.startswith("7 of 7 objects are smaller than --min-volume 1e+06 nm^3 and were dropped")
    named = float(line.split("keep it with --min-volume ")[1].split()[0])
    assert 0 < named <= volume


def test_what_dropped_profiles_is_named() -> None:
    nothing = {"objects": 0.0, "dropped": 0.0, "largest_dropped_nm3": 0.0}
    (none,) = lines(nothing, detections=0)
    assert "unet-small saw nothing from --threshold 0.5 on" in none and "(5,4,4 nm)" in none and "--invert" in none
    (sam,) = lines(nothing)
    assert "5 profiles" in sam and "2500 nm^2" in sam and "SAM scored them below 0.3" in sam
    (unet,) = lines(nothing, segmenter="unet")
    assert "2500 nm^2" in unet and "SAM" not in unet
    (own,) = lines(nothing, segmenter="lab.models:factory")
    assert "lab.models:factory gave no fragment" in own
