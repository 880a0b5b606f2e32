"""How linking and stitching bear mistakes in the masks, beside plain linking by an IoU threshold.

Each block is given the true masks of its slices with mistakes of its own: outlines that wander, masks and whole slices that are
missing, masks split in two, neighbours merged (synthetic.perturb). Both linkings get the same masks and are stitched alike;
results below 500 voxels are dropped for both. VOI is the variation of information, split + merge, in bits.

    python benchmarks/perturbed_masks.py --out benchmarks/results/perturbed-masks.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.evaluation.object_metrics import object_scores_3d
from mitoscale.evaluation.partition_metrics import voi
from mitoscale.ops.link import link, open_ends
from plain_link import plain_link
from synthetic.assemble import assemble
from synthetic.perturb import Mistakes, perturb
from synthetic.scene import make_scene

LEAST_TRUE, LEAST_FOUND = 1000, 500
"""Voxels of the smallest true object that counts, and of the smallest result that is kept."""

PEERS: dict[str, Callable[..., np.ndarray]] = {
    f"IoU > {threshold}": partial(plain_link, iou=threshold) for threshold in (0.1, 0.3, 0.5)
}


def scores(labels: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """F1 and VOI, crumbs dropped."""
    kept = np.bincount(labels.ravel().astype(np.int64)) >= LEAST_FOUND
    kept[0] = False
    labels = np.where(kept[labels], labels, 0)
    split, merge = voi(labels, truth)
    return {
        "f1_50": round(object_scores_3d(labels, truth, LEAST_TRUE)["f1_50"], 4),
        "voi": round(split + merge, 4),
        "split": round(split, 4),
        "merge": round(merge, 4),
    }


def measure(truth: np.ndarray, core: Triple, spacing: Spacing, strength: float) -> dict[str, dict[str, float]]:
    """Scores of each linking at one strength."""
    grid = BlockGrid(region=Region.of_shape(truth.shape), core_shape=core, margin=(8, 32, 32))
    mistakes = Mistakes.of_strength(strength)
    masks = {b.index: perturb(truth[b.halo.slices], mistakes, seed=grid.number(b.index)) for b in grid.blocks()}
    ours = {b.index: link(masks[b.index], spacing, open_ends=open_ends(b)) for b in grid.blocks()}
    result = {"mitoscale": scores(assemble(grid, ours), truth)}
    for name, peer in PEERS.items():
        result[name] = scores(assemble(grid, {index: peer(m) for index, m in masks.items()}), truth)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="128,192,192")
    parser.add_argument("--objects", type=int, default=40)
    parser.add_argument("--strengths", default="0,0.25,0.5,0.75,1")
    parser.add_argument("--steps", default="1,4")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    z, y, x = map(int, arguments.shape.split(","))
    rows: list[dict[str, Any]] = []
    for step in map(int, arguments.steps.split(",")):
        scene = make_scene((z * (2 if step > 1 else 1), y, x), objects=arguments.objects * (2 if step > 1 else 1), seed=3)
        truth = cc3d.connected_components(np.ascontiguousarray(scene[::step]), connectivity=26)
        for strength in map(float, arguments.strengths.split(",")):
            found = measure(truth, (max(48 // step, 16), 96, 96), (10.0 * step, 10.0, 10.0), strength)
            best = (
                max(s["f1_50"] for n, s in found.items() if n != "mitoscale"),
                min(s["voi"] for n, s in found.items() if n != "mitoscale"),
            )
            ours = found["mitoscale"]
            better = {"f1_50": ours["f1_50"] > best[0], "voi": ours["voi"] < best[1]}
            rows.append({"z_step_nm": 10 * step, "strength": strength, "scores": found, "better_than_every_peer": better})
            print(f"z-step {10 * step} nm, strength {strength}: {better}", flush=True)
            for name, s in found.items():
                print(f"    {name:10} f1_50 {s['f1_50']:.3f}  VOI {s['split']:.3f} + {s['merge']:.3f}", flush=True)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
