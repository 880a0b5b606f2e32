"""Options become settings: what is given counts, also where it is 0 or off."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from commands import Call, Stack

from mitoscale.cli.options import Numbers, Part, SliceRange, Threshold
from mitoscale.core.settings import RunSettings
from mitoscale.core.training_settings import LearnSettings
from mitoscale.pipeline import load


def settings_of(mitoscale: Call, stack: Stack, run: Path, *options: str) -> RunSettings:
    ended = mitoscale("convert", stack.image, str(run), *stack.exact(), *options)
    assert ended.code == 0, ended.err
    return load(str(run)).plan.settings


def test_zeros_are_settings_too(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    settings = settings_of(mitoscale, stack, tmp_path / "run", "--min-volume", "0", "--threshold", "0")
    assert settings.relabel.min_volume_nm3 == 0
    assert settings.detect.threshold == 0


def test_given_options(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    options = ["--min-volume", "2e6", "--threshold", "0.6", "--invert", "--region", "0:16,:,:", "--voxel-size", "8,9,9"]
    settings = settings_of(mitoscale, stack, tmp_path / "run", *options)
    assert (settings.relabel.min_volume_nm3, settings.detect.threshold) == (2e6, 0.6)
    assert settings.convert.invert and settings.convert.region.stop == (16, 128, 128)
    assert settings.convert.spacing == (8.0, 9.0, 9.0)  # wins over what the file says
    assert settings.segment.options == {"truth": stack.truth}


@pytest.mark.parametrize("text", ["5,5", "5,5,5,5", "a,b,c", "5,5,0", "5,5,-1", "5,5,inf", "5,5,nan", ""])
def test_not_three_numbers(text: str) -> None:
    with pytest.raises(click.BadParameter, match="three numbers above 0"):
        Numbers(float).convert(text, None, None)


def test_three_numbers() -> None:
    assert Numbers(float).convert("50, 4.6,4.6", None, None) == (50.0, 4.6, 4.6)
    assert Numbers(int).convert("16,64,64", None, None) == (16, 64, 64)
    with pytest.raises(click.BadParameter):
        Numbers(int).convert("16.5,64,64", None, None)


@pytest.mark.parametrize(
    ("text", "number"), [("127", 127), ("127.0", 127), ("0", 0), ("0.5", 0.5), ("1e-3", 0.001), ("1e300", 1e300)]
)
def test_a_threshold_that_is_whole_stays_whole(text: str, number: float) -> None:
    found = Threshold().convert(text, None, None)
    assert found == number and type(found) is type(number)
    kept = LearnSettings(volume="v", truth="t", out="w.safetensors", truth_threshold=found)
    assert repr(json.loads(kept.model_dump_json())["truth_threshold"]) == repr(number), "the token of earlier trainings is the same"


@pytest.mark.parametrize("text", ["-1", "-0.1", "nan", "inf", "half", ""])
def test_no_threshold(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Threshold().convert(text, None, None)


@pytest.mark.parametrize("text", ["5", "5:", ":5", "5:5", "6:5", "-1:5", "a:b"])
def test_no_range_of_slices(text: str) -> None:
    with pytest.raises(click.BadParameter, match="range of slices"):
        SliceRange().convert(text, None, None)


def test_a_part_of_a_volume() -> None:
    assert Part().convert("0:16, :,32:", None, None) == "0:16,:,32:"


@pytest.mark.parametrize("text", ["", "0:16", "0:16,:", "0:16,:,:,:", "a:b,:,:", "-1:5,:,:", "0-16,:,:", "0:1:2,:,:"])
def test_no_part_of_a_volume(text: str) -> None:
    with pytest.raises(click.BadParameter, match="three ranges z,y,x such as"):
        Part().convert(text, None, None)
