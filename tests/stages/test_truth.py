"""What a truth may be: labels, or with a threshold any mask; what it is not is told before anything is learnt or scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings
from mitoscale.stages.annotated import AnnotatedVolume, read_annotated
from mitoscale.stages.compare import compare
from mitoscale.stages.grey_volume import open_grey

SPACING = (10.0, 10.0, 10.0)
MASK = np.zeros((6, 16, 16), bool)
MASK[2:5, 4:9, 3:12] = True


def saved(folder: Path, **arrays: np.ndarray) -> list[str]:
    for name, array in arrays.items():
        tifffile.imwrite(folder / f"{name}.tif", array, photometric="minisblack")
    return [str(folder / f"{name}.tif") for name in arrays]


def learnt(folder: Path, truth: np.ndarray, threshold: float | None = None) -> AnnotatedVolume:
    image = np.random.default_rng(0).integers(0, 255, truth.shape).astype(np.uint8)
    return read_annotated(*saved(folder, image=image, truth=truth), SPACING, threshold)


def compared(folder: Path, truth: np.ndarray, threshold: float | None, z: tuple[int, int] = (0, 6)) -> None:
    image = np.random.default_rng(0).integers(0, 255, truth.shape).astype(np.uint8)
    paths = saved(folder, image=image, truth=truth)
    region = Region(start=(z[0], 0, 0), stop=(z[1], 16, 16))
    compare(open_grey(paths[0], SPACING), paths[1], sams=(), detect=DetectSettings(), region=region, threshold=threshold)


def test_negative_labels_are_not_learnt(tmp_path: Path) -> None:
    truth = MASK.astype(np.int16)
    truth[0, 0, 0] = -1
    for judge in (learnt, compared):
        with pytest.raises(InputError, match=r"truth\.tif holds -1; labels are 0 \(background\) and above"):
            judge(tmp_path, truth, None)
    assert (learnt(tmp_path, truth, 0).truth == MASK).all(), "what is not above the threshold is background"
