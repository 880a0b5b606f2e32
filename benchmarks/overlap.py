"""Two or three tasks in hand of a worker against one: how much reading and writing hides behind the network.

    python benchmarks/overlap.py --out overlap.json

A phantom of 8 blocks of 64 x 256 x 256 voxels is detected by one worker. The network is replaced by one that waits as long as a GPU
would compute, and lets other threads go on meanwhile, as a GPU does; reading, writing, the search for detections and Dask are
the real ones. Stage seconds of 1, 2 and 3 threads, in turns, the best of each; the ratio is to one thread in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.cli.launch import settings_for
from mitoscale.cluster.clusters import Cluster, ClusterSettings, start
from mitoscale.cluster.groups import Group
from mitoscale.core.geometry import Region
from mitoscale.pipeline import Run, StageOutcome, execute, make_plan
from mitoscale.pipeline import start as begin
from mitoscale.stages.source import open_source
from mitoscale.storage.tiff_writing import write_tiff

SHAPE, BLOCK = (128, 512, 512), (64, 256, 256)


class Waiting:
    """A detector that takes its time and finds what is bright."""

    def __init__(self, seconds: str) -> None:
        self.seconds = float(seconds)

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """(Z, Y, X) float32: 1 where the (Z, Y, X) uint8 image is bright."""
        time.sleep(self.seconds)
        return (image > 200).astype(np.float32)


def waiting(seconds: str) -> Waiting:
    """The factory that ``--detector overlap:waiting`` names."""
    return Waiting(seconds)


class Silent:
    """Hears of a run's progress and says nothing."""

    def stage_started(self, name: str, total: int, done: int) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""

    def task_done(self, name: str, voxels: float) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""

    def stage_finished(self, outcome: StageOutcome) -> None:
        """See :class:`mitoscale.pipeline.Observer`."""


def converted(folder: Path, seconds: float) -> Run:
    """A run of a volume of noise with bright balls, converted."""
    rng = np.random.default_rng(0)
    image = rng.integers(60, 180, SHAPE, np.uint8)
    image[::16, 100:140, 100:140] = 250
    write_tiff(str(folder / "volume.tif"), image, (10.0, 10.0, 10.0))
    source = open_source(str(folder / "volume.tif"), None)
    options: dict[str, Any] = {
        "block": BLOCK,
        "detector": "overlap:waiting",
        "detector_option": {"seconds": str(seconds)},
        "segmenter": "unet",
    }
    return begin(make_plan(source, str(folder / "run"), settings_for(source, options, 1)), source.value_range)


def detect_seconds(run: Run, cluster: Cluster) -> float:
    """Wall seconds of detect, done anew."""
    (outcome,) = execute(run, ["detect"], cluster.executor, Silent(), redo="detect")
    if outcome.quarantined:
        sys.exit(f"blocks failed: {outcome.quarantined}")
    return outcome.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out")
    parser.add_argument("--seconds", type=float, default=0.5, help="a block's time on the GPU")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    here = str(Path(__file__).parent)
    sys.path.insert(0, here)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))  # workers import it too
    best: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        run = converted(Path(scratch), arguments.seconds)
        blocks = len(run.plan.detect_grid)
        with start(ClusterSettings(workers=1, dashboard="127.0.0.1:0")) as cluster:
            execute(run, ["convert"], cluster.executor, Silent())
        for _ in range(arguments.rounds):
            for threads in (1, 2, 3):
                groups = {"gpu": Group(workers=1, threads=threads, memory="4 GiB")}
                with start(ClusterSettings(groups=groups, dashboard="127.0.0.1:0")) as cluster:
                    detect_seconds(run, cluster)  # libraries are loaded in the first pass
                    best[threads] = min(best.get(threads, np.inf), detect_seconds(run, cluster))
    result = {
        "blocks": blocks,
        "gpu_seconds_a_block": arguments.seconds,
        "seconds_a_block": {str(t): round(s / blocks, 3) for t, s in best.items()},
        "gpu_busy": {str(t): round(arguments.seconds * blocks / s, 3) for t, s in best.items()},
        "speed_to_one_thread": {str(t): round(best[1] / s, 2) for t, s in best.items()},
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        (Path(here) / "results" / Path(arguments.out).name).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
