"""The page about a run as a browser shows it, in the middle of a real run."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Stack
from PIL import Image

from mitoscale.dashboard.colours import RETRYING, RUNNING, STAGES, WAITING

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_a_browser_shows_the_blocks_and_their_states(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import browser
    import dashboard

    if browser.chromium() is None:
        pytest.skip("no chromium here: install it (Debian: apt-get install chromium)")
    png = dashboard.half_way(stack.image, ["--block", "16,32,32"], tmp_path, "detect", slow=True)
    for name in ("browser", "dashboard"):
        sys.modules.pop(name, None)
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert pixels.shape == (dashboard.SIZE[1], dashboard.SIZE[0], 3)
    for colour in (STAGES[0], STAGES[1], RUNNING, RETRYING, WAITING):  # convert, detect, what happens now, stages to come
        assert area(pixels, colour) > 2_000, f"{colour} is missing"  # more than in the legend
    assert area(pixels, STAGES[0]) + area(pixels, STAGES[1]) > 20_000


def area(pixels: np.ndarray, colour: str) -> int:
    """Pixels of exactly this colour."""
    return int((pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=-1).sum())
