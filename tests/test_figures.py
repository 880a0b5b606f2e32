"""Figures that people read are those that were measured: README and model card against the committed results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

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


def test_differences_are_told_and_times_are_not(accuracy) -> None:  # type: ignore[no-untyped-def]
    result = json.loads((accuracy.RESULTS / "epfl-unet.json").read_text(encoding="utf-8"))
    assert accuracy.difference(result | {"seconds": 1.0, "peak_gib": 9.0}, result) == "equal to the committed result"
    other = result | {"scores": result["scores"] | {"arand": 0.5}}
    assert accuracy.difference(other, result).startswith("scores.arand differs most")
