"""Which embedded U-Net a volume is given."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mitoscale.core.detector_names import ONE_TISSUE, SEVERAL_TISSUES
from mitoscale.core.geometry import Region, Spacing
from mitoscale.evaluation.detector_choice import agreement_in, choice_of, choose_detector
from mitoscale.evaluation.grey_volume import open_grey

real = pytest.mark.skipif("MITOSCALE_TEST_DATA" not in os.environ, reason="MITOSCALE_TEST_DATA is not set")


@pytest.mark.parametrize(
    ("one", "several", "taken"),
    [
        (0.9, 1.0, ONE_TISSUE),
        (0.89, 0.7, ONE_TISSUE),
        (0.89, 0.8, SEVERAL_TISSUES),
        (0.4, 0.8, SEVERAL_TISSUES),
        (0.0, 0.0, SEVERAL_TISSUES),
    ],
)
def test_what_knows_the_tissue_is_taken_and_else_what_knows_more(one: float, several: float, taken: str) -> None:
    assert choice_of({ONE_TISSUE: one, SEVERAL_TISSUES: several}.__getitem__).detector == taken


def test_the_second_is_not_asked_where_the_first_knows_the_tissue() -> None:
    choice = choice_of({ONE_TISSUE: 0.95}.__getitem__)
    assert choice.told() == "unet-small, chosen for this volume by how alike it finds what is turned round: unet-small 0.95"


@real
@pytest.mark.parametrize(
    ("name", "spacing", "part", "taken"),
    [
        ("epfl/training.tif", (5, 5, 5), "100:124,:512,:1024", ONE_TISSUE),
        ("mitoem_r/raw.tif", (30, 8, 8), ":,:,:", SEVERAL_TISSUES),
        ("cardiac/raw.tif", (1000, 5, 5), ":,:,:", SEVERAL_TISSUES),
    ],
)
def test_tissue_that_one_network_knows_is_told_from_tissue_that_it_does_not(
    name: str, spacing: Spacing, part: str, taken: str
) -> None:
    volume = open_grey(str(Path(os.environ["MITOSCALE_TEST_DATA"], name)), spacing)
    choice = choose_detector(volume, Region.parse(part, volume.source.shape))
    assert choice.detector == taken, choice.told()


def test_without_tissue_there_is_no_choice(tmp_path: Path) -> None:
    image = np.zeros((4, 96, 96), np.uint8)
    image[:, :8, :8] = np.arange(8, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "empty.tif", image, photometric="minisblack")
    choice = choose_detector(open_grey(str(tmp_path / "empty.tif"), (5, 5, 5)))
    assert choice.told() == "unet-small, as there is no tissue to choose by"


@real
def test_padding_has_no_part_in_it(tmp_path: Path) -> None:
    image = tifffile.imread(Path(os.environ["MITOSCALE_TEST_DATA"], "epfl", "training.tif"), key=range(60, 76))[:, 256:512, 256:512]
    padded = np.pad(image, ((0, 0), (0, 0), (0, 256)))
    tifffile.imwrite(tmp_path / "whole.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "padded.tif", padded, photometric="minisblack")
    whole, half = (agreement_in(open_grey(str(tmp_path / name), (5, 5, 5)), ONE_TISSUE) for name in ("whole.tif", "padded.tif"))
    assert abs(whole - half) < 0.05
