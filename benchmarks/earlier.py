"""Detect and segment of this version beside an earlier one, on a whole volume, and what each finds.

    git worktree add --detach EARLIER 480eba1
    python benchmarks/earlier.py EARLIER epfl/training.tif epfl/training_groundtruth.tif --voxel-size 5,5,5 --slices 132:165

EARLIER is a checkout; its code runs in this environment. Each version gets the same commands, ``convert``, ``detect``, ``segment``,
``stitch`` and ``relabel``, with its own defaults and embedded weights, in a fresh folder; what is timed is each whole command. The
ratio is the earlier seconds over this version's: above 1 this version is faster. Scores are of the slices that are named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mitoscale.nets.device import device_name

HERE = Path(__file__).parent.parent
STAGES = ("convert", "detect", "segment", "stitch", "relabel")


def command(code: Path, *words: str) -> float:
    """Seconds of a command of one version."""
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(code)}
    subprocess.run([sys.executable, "-m", "mitoscale", *words], check=True, cwd=code, env=environment, stdout=sys.stderr)
    return time.monotonic() - began


def measured(code: Path, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of the stages of one version, and its scores, both by this version's evaluate."""
    run = str(folder / "run")
    seconds = {}
    for stage in STAGES:
        source = [arguments.volume, run, "--voxel-size", arguments.voxel_size, *arguments.options] if stage == "convert" else [run]
        seconds[stage] = round(command(code, stage, *source), 1)
        print(code.name, stage, seconds[stage], file=sys.stderr, flush=True)
    labels = f"{run}/volume.zarr/labels/mitochondria"
    scores = subprocess.run(
        [sys.executable, "-m", "mitoscale", "evaluate", labels, arguments.truth, "--slices", arguments.slices, "--json"],
        check=True,
        cwd=HERE,
        env=os.environ | {"PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
    )
    return {"seconds": seconds, "scores": json.loads(scores.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("earlier", type=Path)
    parser.add_argument("volume", type=os.path.abspath)
    parser.add_argument("truth", type=os.path.abspath)
    parser.add_argument("--voxel-size", required=True)
    parser.add_argument("--slices", required=True, help="that are scored")
    parser.add_argument("--out", type=Path)
    parser.add_argument("options", nargs="*", help="further options of convert, such as --region=0:64,0:512,0:512, after --")
    arguments = parser.parse_intermixed_args()
    result: dict[str, Any] = {}
    for name, code in (("now", HERE), ("earlier", arguments.earlier.resolve())):
        with tempfile.TemporaryDirectory() as folder:
            result[name] = measured(code, arguments, Path(folder))
    before, now = (result[name]["seconds"] for name in ("earlier", "now"))
    result["ratio"] = {stage: round(before[stage] / now[stage], 2) for stage in STAGES}
    both = [sum(seconds[stage] for stage in ("detect", "segment")) for seconds in (before, now)]
    result["ratio_of_detect_and_segment"] = round(both[0] / both[1], 2)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=arguments.earlier, capture_output=True, text=True)
    result |= {"earlier_commit": commit.stdout.strip(), "machine": device_name()}
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
