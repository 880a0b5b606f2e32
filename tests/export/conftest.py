"""A run that is done up to its tables and has several levels."""

from __future__ import annotations

import numpy as np
import pytest
from commands import Call

from mitoscale.storage.tiff_writing import write_tiff

SHAPE = (12, 48, 280)
MIDDLES = ((6, 14, 20), (6, 32, 62), (3, 20, 110), (6, 36, 150), (2, 12, 195), (6, 30, 245), (0, 40, 278))


def balls() -> np.ndarray:
    """(Z, Y, X) uint16: ellipsoids that do not touch; some are cut by the border."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    labels = np.zeros(SHAPE, np.uint16)
    for number, middle in enumerate(
        [(4, 12, 20), (4, 30, 60), (3, 20, 110), (5, 36, 150), (2, 10, 190), (4, 30, 250), (0, 40, 278)]
    ):
        inside = ((z - middle[0]) / 4.4) ** 2 + ((y - middle[1]) / 11) ** 2 + ((x - middle[2]) / 18) ** 2 < 1
        labels[inside] = number + 1
    return labels


@pytest.fixture(scope="session")
def layered(mitoscale: Call, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its folder; tests only read it."""
    folder = tmp_path_factory.mktemp("layered")
    labels = balls()
    image = np.where(labels > 0, 90, 170) + np.random.default_rng(5).integers(-30, 30, SHAPE)
    write_tiff(str(folder / "image.tif"), image.astype(np.uint8), (20.0, 10.0, 10.0))
    np.save(folder / "truth.npy", labels)
    run, truth = str(folder / "run"), f"truth={folder / 'truth.npy'}"
    models = ["--detector", "known_truth:detector", "--detector-option", truth]
    models += ["--segmenter", "known_truth:segmenter", "--segmenter-option", truth, "--min-volume", "0", "--workers", "1"]
    size = ["--block", "8,64,64", "--voxel-size", "20,10,10"]
    ended = mitoscale("convert", str(folder / "image.tif"), run, *size, "--workers", "1")
    assert ended.code == 0, ended.err
    for stage in ("detect", "segment", "stitch", "relabel", "measure"):
        ended = mitoscale(stage, run, *models)
        assert ended.code == 0, ended.err
    return run
