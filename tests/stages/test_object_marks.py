"""Objects beside padding, in replaced slices and beside given-up blocks are marked in the tables, however the volume is cut."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from commands import Call, labels_of

from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table
from mitoscale.storage.tiff_writing import write_tiff

SHAPE = (12, 96, 120)
BOXES = {
    "plain": (slice(1, 3), slice(4, 24), slice(50, 70)),
    "border": (slice(1, 3), slice(76, 96), slice(90, 110)),
    "padding": (slice(1, 3), slice(60, 80), slice(10, 40)),
    "replaced": (slice(4, 9), slice(30, 50), slice(40, 60)),
    "part": (slice(8, 11), slice(60, 90), slice(40, 80)),
    "beside": (slice(8, 11), slice(30, 50), slice(80, 110)),
}
"""Places of objects. Padding ends at x = 24, slice 6 is lost, and of slice 9 the rows from 64 on."""


@pytest.fixture
def volume(tmp_path: Path) -> tuple[str, np.ndarray]:
    """A TIFF and where its objects are."""
    rng = np.random.default_rng(3)
    coarse = rng.normal(128, 30, (SHAPE[0] + 2, 12, 15))
    image = np.kron(coarse[:-2] + coarse[1:-1] + coarse[2:], np.ones((1, 8, 8))) / 3 + rng.normal(0, 8, SHAPE)
    image = image.clip(1, 254).astype(np.uint8)
    image[:, :, :24], image[6], image[9, 64:] = 0, 0, 0
    write_tiff(str(tmp_path / "volume.tif"), image, (10.0, 10.0, 10.0))
    truth = np.zeros(SHAPE, np.uint32)
    for number, box in enumerate(BOXES.values(), 1):
        truth[box] = number
    return str(tmp_path / "volume.tif"), truth


def marks(run: str, truth: np.ndarray) -> dict[str, set[str]]:
    """What each object is said to touch, by the place it has in the truth; a dropped one is left out."""
    table, labels, names = read_table(RunFolder(run).objects), labels_of(run), list(BOXES)
    found = {}
    for row, label in enumerate(table["label"]):
        number = int(np.bincount(truth[labels == label]).argmax())
        found[names[number - 1]] = {n for n in ("border", "padding", "replaced", "lost") if table[f"touches_{n}"][row]}
    return found


@pytest.mark.parametrize("block", ["16,128,128", "6,24,40", "5,41,33"])
def test_what_objects_touch(block: str, volume: tuple[str, np.ndarray], mitoscale: Call, tmp_path: Path) -> None:
    source, truth = volume
    np.save(tmp_path / "truth.npy", truth)
    oracle = ("--detector", "known_truth:detector", "--detector-option", f"truth={tmp_path / 'truth.npy'}")
    run = str(tmp_path / "run")
    ended = mitoscale("run", source, run, "--segmenter", "unet", "--min-volume", "1", "--block", block, *oracle)
    assert ended.code == 0, ended.err
    assert marks(run, truth) == {
        "plain": set(),
        "border": {"border"},
        "padding": {"padding"},
        "replaced": {"replaced"},
        "part": {"replaced"},
        "beside": set(),
    }
    assert "Of 6 objects touch: 1 padding, 2 a replaced slice" in Path(run, "report.html").read_text()
    ended = mitoscale("export", run, "--to", str(tmp_path / "out.csv"))
    assert ended.code == 0, ended.err
    with open(tmp_path / "out.csv", newline="") as file:
        assert sum(row["touches_replaced"] in ("True", "true", "1") for row in csv.DictReader(file)) == 2


def test_beside_a_block_that_was_given_up(volume: tuple[str, np.ndarray], mitoscale: Call, tmp_path: Path) -> None:
    """The detector fails in a block: what touches its core is marked, until it is healed."""
    source, truth = volume
    np.save(tmp_path / "truth.npy", truth)
    fails = tmp_path / "fails"
    run = str(tmp_path / "run")
    oracle = ("--detector", "known_truth:detector", "--detector-option", f"truth={tmp_path / 'truth.npy'}")
    options = ("--segmenter", "unet", "--min-volume", "1", "--block", "4,96,40", *oracle, "--detector-option", f"fails={fails}")
    fails.write_text("0:8,0:96,0:120")  # what the middle one of the first blocks reads
    ended = mitoscale("run", source, run, *options)
    assert ended.code == 3, ended.err
    found = marks(run, truth)
    assert "plain" not in found and found["border"] == {"border"} and "lost" not in found["beside"] | found["part"]
    assert found["replaced"] == {"replaced", "lost"}  # it begins at slice 4, where the block ends
    assert found["padding"] == {"padding", "lost"}  # it ends at column 40, where the block begins
    assert "2 a given-up block" in Path(run, "report.html").read_text()
    fails.unlink()
    ended = mitoscale("retry", run)
    assert ended.code == 0, ended.err
    assert marks(run, truth)["replaced"] == {"replaced"} and not any("lost" in m for m in marks(run, truth).values())
