"""A picture of mitoscale's page in the Dask dashboard, taken in headless Chromium in the middle of a real run.

A few blocks fail on purpose (``chaos_detector.py``), so that the picture shows that too: one always, some once.

    python benchmarks/dashboard.py TRAINING.tif --out benchmarks/results/dashboard.png
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import picture
from mitoscale.pipeline import load

SIZE = (1500, 1000)
"""Of the picture, in pixels."""

HALF_WAY = """
window.Bokeh && Bokeh.documents.length && [...Bokeh.documents[0]._all_models.values()].some(model => {
    const found = /<b>STAGE<\\/b>.*?<b>([\\d,]+) \\/ ([\\d,]+)<\\/b>/s.exec(model.text || "")
    return found && Number(found[1].replaceAll(",", "")) >= 0.5 * Number(found[2].replaceAll(",", ""))
})
"""
"""JavaScript: whether the page says that half of a stage's tasks are done."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--voxel-size", default="5,5,5")
    parser.add_argument("--region", default="0:32,0:256,0:256")
    parser.add_argument("--block", default="16,64,64")
    parser.add_argument("--stage", default="segment")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "dashboard.png")
    a = parser.parse_args()
    options = ["--voxel-size", a.voxel_size, "--region", a.region, "--block", a.block]
    with tempfile.TemporaryDirectory(prefix="dashboard-") as scratch:
        a.out.write_bytes(half_way(a.volume, options, Path(scratch), a.stage))


def half_way(volume: str, options: list[str], scratch: Path, stage: str, *, slow: bool = False) -> bytes:
    """A PNG of the page when half of a stage is done; the run is stopped then.

    Parameters
    ----------
    volume : str
        The source.
    options : list of str
        Of ``mitoscale run``: voxel size, region, block.
    scratch : Path
        A folder for the run.
    stage : str
        The stage.
    slow : bool
        The detector takes a second longer for each block.
    """
    (scratch / "poison").touch()
    (scratch / "faults.json").write_text("{}")
    detector = ["--detector", "chaos_detector:detector", "--detector-option", f"folder={scratch}"]
    run = [volume, str(scratch / "run"), *options, *detector, "--segmenter", "unet", "--workers", "2"]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command, environment = [sys.executable, "-m", "mitoscale"], {**os.environ, "PYTHONPATH": paths}
    subprocess.run([*command, "convert", *run], env=environment, check=True)
    (scratch / "faults.json").write_text(json.dumps(faults(str(scratch / "run"), slow)))
    process = subprocess.Popen([*command, "run", *run], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    try:
        link = next(found[1] for line in process.stderr if (found := re.match(r"blocks +(http\S+)", line)))
        return picture(link, SIZE, shows=HALF_WAY.replace("STAGE", stage), settle=1.5, seconds=300)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def faults(run: str, slow: bool) -> dict[str, list[str]]:
    """One block of the middle that always fails, and each seventh once."""
    blocks = list(load(run).plan.detect_grid.blocks())
    planned: dict[str, list[str]] = {str(block.halo): ["wait"] if slow else [] for block in blocks}
    for block in blocks[::7]:
        planned[str(block.halo)].append("raise")
    planned[str(blocks[len(blocks) * 3 // 8].halo)].append("poison")
    return planned


if __name__ == "__main__":
    main()
