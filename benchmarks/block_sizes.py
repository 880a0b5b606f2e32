"""Do block sizes change the result? The same volume is run with several, and the results are compared two by two.

Each run goes through the command line with its own blocks; what else is given goes to ``mitoscale run``. Objects of 1,000 voxels
and more count. The stitch's own account is printed too: how often profiles that look alike are cut at block faces, and at planes
inside blocks (95 % intervals).

    python benchmarks/block_sizes.py training.tif RUNS --voxel-size 5,5,5 --blocks 64,256,256 48,192,192 96,384,512 \\
        --out benchmarks/results/block-sizes.json --segmenter unet
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np

from mitoscale.evaluation.object_metrics import object_scores_3d
from mitoscale.evaluation.partition_metrics import voi
from mitoscale.ops.seams import interval
from mitoscale.pipeline import FINISHED, load
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger

LEAST = 1000


def labels_of(run: str) -> np.ndarray:
    """(Z, Y, X) labels of a run's region."""
    plan = load(run).plan
    return open_array(f"{plan.labels}/0", missing="fill").read(plan.region)


def seams_of(run: str) -> dict[str, object]:
    """Rates of cuts at faces and inside."""
    plan = load(run).plan
    counts = Ledger(RunFolder(plan.run).ledger("stitch")).entries(plan.settings.token("stitch"))[FINISHED].counts
    result: dict[str, object] = {}
    for name in ("face", "inner"):
        cut, alike = counts.get(f"{name}_cut", 0.0), counts.get(f"{name}_alike", 0.0)
        result[name] = {"alike": alike, "cut": cut, "rate_95": [round(r, 5) for r in interval(cut, alike)]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("runs", help="folder for the runs")
    parser.add_argument("--voxel-size", required=True)
    parser.add_argument("--blocks", nargs="+", default=["64,256,256", "48,192,192", "96,384,512"])
    parser.add_argument("--out")
    arguments, more = parser.parse_known_args()
    runs = {blocks: str(Path(arguments.runs, blocks.replace(",", "x"))) for blocks in arguments.blocks}
    for blocks, run in runs.items():
        command = [sys.executable, "-m", "mitoscale", "run", arguments.volume, run, "--voxel-size", arguments.voxel_size]
        subprocess.run([*command, "--block", blocks, *more], check=True)
    labels = {blocks: labels_of(run) for blocks, run in runs.items()}
    pairs = []
    for a, b in combinations(runs, 2):
        scores = object_scores_3d(labels[a], labels[b], LEAST)
        split, merge = voi(labels[a], labels[b])
        same = float(((labels[a] > 0) == (labels[b] > 0)).mean())
        pairs.append(
            {
                "blocks": [a, b],
                "f1_50": round(scores["f1_50"], 4),
                "f1_75": round(scores["f1_75"], 4),
                "voi": [round(split, 4), round(merge, 4)],
                "foreground_agreement": round(same, 6),
                "objects": [scores["n_pred"], scores["n_true"]],
            }
        )
    result = {
        "volume": Path(arguments.volume).name,
        "options": more,
        "pairs": pairs,
        "seams": {blocks: seams_of(run) for blocks, run in runs.items()},
    }
    print(json.dumps(result, indent=1))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
