"""A proofreading session on a phantom with planted mistakes: all are mended, and stay so when the run is done again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from commands import Call, labels_of
from scipy import ndimage

from mitoscale.corrections.labels import corrected_labels
from mitoscale.evaluation.object_metrics import object_scores_3d
from mitoscale.pipeline import load
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table
from mitoscale.storage.tiff_writing import write_tiff

ROWS, COLUMNS, CELL = 6, 6, 24
SHAPE, BLOCK = (24, ROWS * CELL, COLUMNS * CELL), "24,72,72"
SPACING = (10.0, 10.0, 10.0)


@dataclass(frozen=True)
class Mistake:
    """What was spoilt, told by voxels within."""

    kind: str
    points: tuple[tuple[int, int, int], ...]


def centre(row: int, column: int) -> tuple[int, int, int]:
    return 12, CELL * row + 12, CELL * column + 12


def made() -> tuple[np.ndarray, np.ndarray]:
    """An image with dark bodies, five rows of six that touch along x, and their labels."""
    labels, nearest = np.zeros(SHAPE, np.uint32), np.full(SHAPE, np.inf)
    grid = np.indices(SHAPE, dtype=np.float32)
    for number, (row, column) in enumerate(np.ndindex(ROWS - 1, COLUMNS), 1):
        away = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre(row, column), (9, 9, 12.6), strict=True))
        labels[(away < 1) & (away < nearest)] = number
        nearest = np.minimum(nearest, away)
    noise = np.random.default_rng(0).normal(0, 12, SHAPE)
    return np.clip(np.where(labels > 0, 90, 160) + noise, 0, 255).astype(np.uint8), labels


def planted(truth: np.ndarray) -> tuple[np.ndarray, list[Mistake]]:
    """Labels with five mistakes of each kind."""
    labels, mistakes = truth.copy(), []
    for row in range(5):
        a, b = centre(row, 0), centre(row, 1)  # two that touch, taken for one
        labels[truth == truth[b]] = truth[a]
        mistakes.append(Mistake("merged", (a, b)))
        c = centre(row, 2)  # one taken for two
        half = (truth == truth[c]) & (np.arange(SHAPE[2]) >= c[2])
        labels[half] = 100 + row
        mistakes.append(Mistake("split", ((12, c[1], c[2] - 6), (12, c[1], c[2] + 6))))
        d = centre(row, 3)  # passed over
        labels[truth == truth[d]] = 0
        mistakes.append(Mistake("missing", (d,)))
        e = centre(5, row)  # nothing taken for something
        labels[6:18, e[1] - 7 : e[1] + 8, e[2] - 7 : e[2] + 8] = 200 + row
        mistakes.append(Mistake("invented", (e,)))
    return labels, mistakes


def f1(found: np.ndarray, truth: np.ndarray) -> float:
    return float(object_scores_3d(found, truth)["f1_75"])


def test_twenty_mistakes_are_mended_and_stay_mended(mitoscale: Call, tmp_path: Path) -> None:
    picture, truth = made()
    spoilt, mistakes = planted(truth)
    image, run = str(tmp_path / "phantom.tif"), str(tmp_path / "run")
    write_tiff(image, picture, SPACING)
    np.save(tmp_path / "truth.npy", truth)
    np.save(tmp_path / "spoilt.npy", spoilt)
    arguments = ["run", image, run, "--block", BLOCK, "--workers", "1", "--min-volume", "0"]
    arguments += ["--detector", "known_truth:detector", "--detector-option", f"truth={tmp_path}/truth.npy"]
    segmenter = ["--segmenter", "known_truth:segmenter", "--segmenter-option"]
    assert mitoscale(*arguments, *segmenter, f"truth={tmp_path}/spoilt.npy").code == 0
    before = labels_of(run)

    def edit(*words: str) -> str:
        ended = mitoscale("edit", run, *words)
        assert ended.code == 0, ended.err
        return ended.out

    for mistake in mistakes:
        there = [str(before[point]) for point in mistake.points]
        at = [word for point in mistake.points for word in ("--at", ",".join(map(str, point)))]
        if mistake.kind == "merged":
            assert re.search(r"new +object \d+", edit("split", there[0], *at))
        elif mistake.kind == "split":
            edit("merge", *there)
        elif mistake.kind == "missing":
            edit("add", *at)
        else:
            edit("delete", *there)
    ended = mitoscale("apply", run)
    assert ended.code == 0 and "20 of 20 corrections" in ended.out, ended.err
    mended = open_array(f"{corrected_labels(load(run).plan)}/0", missing="fill").read_all()
    np.testing.assert_array_equal(labels_of(run), before)  # the run's own labels stay
    assert f1(before, truth) < 0.75 < 0.99 <= f1(mended, truth)
    assert len(read_table(f"{RunFolder(run).path}/tables/objects_corrected.parquet")["label"]) == len(np.unique(mended)) - 1

    # Done again by a segmenter that outlines otherwise and numbers otherwise.
    other = np.where(spoilt > 0, int(spoilt.max()) + 1 - spoilt.astype(int), 0)
    inner = ndimage.grey_erosion(other, size=3) == ndimage.grey_dilation(other, size=3)
    np.save(tmp_path / "other.npy", np.where(inner, other, 0).astype(np.uint32))
    assert mitoscale(*arguments, *segmenter, f"truth={tmp_path}/other.npy", "--redo", "segment").code == 0
    stale = mitoscale("export", run, "--to", str(tmp_path / "x.tif"), "--edits")
    assert stale.code == 1 and "start mitoscale apply" in stale.err
    again = mitoscale("apply", run)
    assert again.code == 0
    fit = re.search(r"(\d+) of 20 corrections", again.out)
    assert fit and int(fit[1]) >= 18, again.out
    assert again.err.count("unfit") == 20 - int(fit[1])
    thin = np.where(ndimage.grey_erosion(truth, size=3) == ndimage.grey_dilation(truth, size=3), truth, 0)
    replayed = open_array(f"{corrected_labels(load(run).plan)}/0", missing="fill").read_all()
    assert f1(labels_of(run), thin) < 0.75 and f1(replayed, thin) > f1(labels_of(run), thin) + 0.2


@pytest.mark.parametrize(
    "words",
    [[], ["split", "3", "--at", "1,2,3"], ["merge", "x"], ["add"], ["draw", "3"], ["draw", "--at", "1,2,3", "--at", "1,2,4"]],
)
def test_wrong_words_are_told_as_usage(mitoscale: Call, tmp_path: Path, words: list[str]) -> None:
    ended = mitoscale("edit", str(tmp_path), *words)
    assert ended.code == 2, ended.err
