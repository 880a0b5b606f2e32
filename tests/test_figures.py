"""Figures that people read are those that were measured: README and model card against the committed results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def accuracy() -> object:
    """The module ``benchmarks/accuracy.py``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import accuracy

        yield accuracy
        for name in ("accuracy", "table"):
            sys.modules.pop(name, None)


def test_pages_hold_the_committed_results(accuracy) -> None:  # type: ignore[no-untyped-def]
    text = accuracy.figures(accuracy.RESULTS)
    for page in accuracy.PAGES:
        content = page.read_text(encoding="utf-8")
        held = content.split(accuracy.BEGIN)[1].split(accuracy.END)[0].strip()
        assert held == text, f"{page} shows other figures than benchmarks/results: run python benchmarks/accuracy.py --tables"


@pytest.fixture(scope="module")
def generalise() -> object:
    """The module ``benchmarks/generalise.py``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import generalise

        yield generalise
        sys.modules.pop("generalise", None)


def test_the_page_holds_the_committed_rows_of_other_tissues(generalise) -> None:  # type: ignore[no-untyped-def]
    rows = json.loads(generalise.RESULT.read_text(encoding="utf-8"))["rows"]
    content = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    held = content.split(generalise.BEGIN)[1].split(generalise.END)[0].strip()
    assert held == generalise.table(rows), "benchmarks/README.md shows other rows than results/generalise.json"


def test_what_weights_have_seen_is_told_by_all_their_trainings(generalise) -> None:  # type: ignore[no-untyped-def]
    first = {"data": "training.tif", "train_slices": "0:104", "init": ""}
    second = {"volumes": [{"data": "cardiac", "train_slices": "0:2"}, {"data": "fib25_1", "train_slices": ""}], "init": first}
    told = [generalise.seen(second, name) for name in ("epfl", "cardiac", "fib25_1", "vnc")]
    assert told == ["0:104", "0:2", "no", "no"]
    twice = [
        {"data": "epfl", "data_sha256": "1", "train_slices": "0:9"},
        {"data": "end", "data_sha256": "1", "train_slices": "12:20"},
    ]
    assert generalise.seen({"volumes": twice}, "epfl") == "0:9, 12:20"


def test_the_interval_of_windows_holds_the_whole(generalise) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    truth = rng.random((4, 512, 512)) < 0.3
    found = truth ^ (rng.random(truth.shape) < 0.05)
    both, either = generalise.windows(found, truth, 2)
    assert len(both) == 2 * 2 * 2 and both.sum() == (found & truth).sum() and either.sum() == (found | truth).sum()
    low, high = generalise.interval(both, either)
    assert low < both.sum() / either.sum() < high < low + 0.01


def test_differences_are_told_and_times_are_not(accuracy) -> None:  # type: ignore[no-untyped-def]
    result = json.loads((accuracy.RESULTS / "epfl-unet.json").read_text(encoding="utf-8"))
    assert accuracy.difference(result | {"seconds": 1.0, "peak_gib": 9.0}, result) == "equal to the committed result"
    other = result | {"scores": result["scores"] | {"arand": 0.5}}
    assert accuracy.difference(other, result).startswith("scores.arand differs most")


def test_weights_that_adapting_refuses_are_scored_as_they_are(
    generalise,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    stages = [{"stage": "before", "taken": True}, {"stage": "statistics", "taken": False}]
    asked = []

    def job(settings, report):  # type: ignore[no-untyped-def]
        asked.append((settings.init, settings.voxel_size, settings.rounds))
        return {"history": stages, "refused": "" if stages[-1]["taken"] else "nothing was gained"}

    monkeypatch.setattr(generalise, "adapt_job", job)
    start = ("mine.safetensors", tmp_path, 0)
    assert generalise.adapted(Path("data"), "vnc", *start) == ("mine.safetensors", "mine, adapting refused")
    stages[-1]["taken"] = True
    weights, called = generalise.adapted(Path("data"), "vnc", *start)
    assert Path(weights).parent == tmp_path and called == "mine, adapted (statistics)"
    assert asked == [("mine.safetensors", (50.0, 4.6, 4.6), 0)] * 2
