"""What people have corrected is training data: known objects with their rim, and nothing that nobody has looked at."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from commands import Call, Finished, labels_of
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.core.drawing import Drawing
from mitoscale.corrections.editor import editing
from mitoscale.ops.trusted_labels import trusted_only
from mitoscale.pipeline import load
from mitoscale.pipeline.edited_windows import corrected_windows

UNKNOWN = 65535


@pytest.fixture
def run(finished: Finished, tmp_path: Path) -> str:
    """A finished run of its own, to correct."""
    shutil.copytree(finished.run, tmp_path / "run")
    return str(tmp_path / "run")


def test_windows_hold_what_was_looked_at_and_no_more(mitoscale: Call, run: str, tmp_path: Path) -> None:
    labels = labels_of(run)
    counts = np.bincount(labels.ravel())
    accepted, deleted = (int(i) for i in np.argsort(counts[1:])[::-1][:2] + 1)
    for words in (["accept", str(accepted)], ["delete", str(deleted)]):
        assert mitoscale("edit", run, *words).code == 0
    ended = mitoscale("suggest", run, "--edits", "--size", "64", "--out", str(tmp_path / "windows"))
    assert ended.code == 0, ended.err
    entries = yaml.safe_load((tmp_path / "windows" / "volumes.yaml").read_text())
    assert entries and ended.out.count("window ") == len(entries)
    seen = np.zeros(3, int)
    for entry in entries:
        z, y, x = (int(part[1:]) for part in entry["name"].split("_")[1:])
        stored = tifffile.imread(tmp_path / "windows" / entry["truth"])
        (own,) = (i for i, plane in enumerate(stored) if (plane != UNKNOWN).any())
        window = stored[own]
        found = labels[z, y : y + window.shape[0], x : x + window.shape[1]]
        assert (window[found == accepted] == 1).all()  # the only object that is right
        assert (window[found == deleted] == 0).all()
        others = (found > 0) & (found != accepted) & (found != deleted)
        assert (window[others] == UNKNOWN).all()
        seen += [(found == accepted).sum(), (found == deleted).sum(), ((window == 0) & (found == 0)).sum()]
    assert (seen > 0).all()


def test_a_drawing_gives_windows_in_several_of_its_slices(run: str) -> None:
    opened = load(run)
    mask = np.zeros((9, 6, 6), bool)
    mask[:, 1:5, 1:5] = True
    with editing(opened.plan) as editor:
        taken = labels_of(run)[4:13].max(axis=0)
        y, x = next((int(a), int(b)) for a, b in np.ndindex(100, 100) if not taken[a : a + 6, b : b + 6].any())
        drawing = Drawing.of(mask, (4, y, x), opened.plan.spec.spacing, model="oracle", scores=[0.9] * 9)
        editor._keep("draw", points=((8, y + 2, x + 2),), drawing=drawing)
    windows = list(corrected_windows(opened, 32))
    assert len({region.start[0] for region, _ in windows}) >= 3
    for region, labels in windows:
        assert labels[y + 2 - region.start[1], x + 2 - region.start[2]] == 10


def test_training_learns_from_them_and_replaces_no_windows(mitoscale: Call, run: str, tmp_path: Path) -> None:
    label = str(int(np.bincount(labels_of(run).ravel())[1:].argmax()) + 1)
    arguments = [
        "train",
        run,
        "--from-edits",
        "--init",
        "unet-small",
        "--crop",
        "64",
        "--batch",
        "1",
        "--steps",
        "2",
        "--phantoms",
        "0",
    ]
    arguments += ["--no-mistakes", "--threads", "1", "--out", str(tmp_path / "mine.safetensors")]
    nothing = mitoscale(*arguments)
    assert nothing.code == 1 and "has no corrections to learn from" in nothing.err and not (tmp_path / "mine.windows").exists()
    assert mitoscale("edit", run, "accept", label).code == 0
    for wrong, said in ((["--slices", "0:4"], "leave slices out"), (["--without", "nowhere"], "nowhere")):
        refused = mitoscale(*arguments, *wrong)
        assert refused.code == 1 and said in refused.err and not (tmp_path / "mine.windows").exists()
    ended = mitoscale(*arguments)
    assert ended.code == 0, ended.err
    assert (tmp_path / "mine.safetensors").is_file() and (tmp_path / "mine.windows" / "volumes.yaml").is_file()
    (tmp_path / "mine.safetensors").unlink()
    again = mitoscale(*arguments)
    assert again.code == 1 and "mine.windows exists already" in again.err


def test_a_truth_beside_corrections_is_refused(mitoscale: Call, run: str, tmp_path: Path) -> None:
    ended = mitoscale("train", run, "truth.tif", "--from-edits", "--out", str(tmp_path / "w.safetensors"))
    assert ended.code == 1 and "leave" in ended.err and len(ended.err.splitlines()) == 1


@given(st.integers(0, 2**32 - 1), st.floats(1, 4))
def test_labels_are_trusted_where_somebody_looked(seed: int, rim: float) -> None:
    rng = np.random.default_rng(seed)
    own = np.repeat(np.repeat(rng.integers(0, 5, (5, 6)), 4, 0), 4, 1)
    corrected = np.where(own == 3, 0, own)
    known = set(rng.choice([1, 2, 3, 4], rng.integers(0, 5), replace=False).tolist())
    found = trusted_only(corrected, own, known=known, rim=(rim, rim), unknown=99)
    sure = np.isin(corrected, list(known)) & (corrected > 0)
    assert (found[sure] == corrected[sure]).all()
    assert set(np.unique(found[~sure])) <= {0, 99}
    assert (found[np.isin(own, list(known)) & ~sure] == 0).all()
    assert (found[(own > 0) & ~np.isin(own, list(known))] == 99).all()
    if not known:
        assert (found == 99).all()
