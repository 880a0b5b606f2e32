"""The page about a run as a browser shows it, in the middle of a real run."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Stack
from PIL import Image

from mitoscale.cluster.page_colours import QUARANTINED, STAGES, WAITING

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_browser_shows_the_blocks_and_their_states(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import browser
    import dashboard

    if browser.chromium() is None:
        pytest.skip("no chromium here: install it (Debian: apt-get install chromium)")
    png = dashboard.half_way(stack.image, ["--block", "16,16,16"], tmp_path, "segment")
    for name in ("browser", "dashboard"):
        sys.modules.pop(name, None)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert pixels.shape == (dashboard.SIZE[1], dashboard.SIZE[0], 3)
    for colour in (STAGES[1], STAGES[2], WAITING, QUARANTINED):  # detected, segmented, stages to come, given up
        assert area(pixels, colour) > 200, f"{colour} is missing"
    assert area(pixels, STAGES[1]) + area(pixels, STAGES[2]) > 20_000  # the map, not only its legend


def area(pixels: np.ndarray, colour: str) -> int:
    """Pixels of exactly this colour."""
    return int((pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=-1).sum())
