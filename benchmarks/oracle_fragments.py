"""Stitching alone: each block is given the truth in its read region, and the result must be the truth, one to one.

A block's fragments are the 26-connected parts of each true object within its read region, numbered at random. The truth is
a scene of touching, branching, U- and W-shaped tubes, and (with --truth) any label volume or mask in a TIFF. Every scene
also holds one-voxel diagonal bars through the block edges and corners nearest to the middle. Wrong objects are counted;
there must be none.

    python benchmarks/oracle_fragments.py --shape 512,512,512 --objects 700 --out benchmarks/results/oracle-fragments.json
    python benchmarks/oracle_fragments.py --truth training_groundtruth.tif --out benchmarks/results/oracle-fragments-epfl.json
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.evaluation.label_reading import read_labels
from mitoscale.ops.contingency import contingency
from mitoscale.ops.instances import instances
from synthetic.assemble import assemble
from synthetic.scene import make_scene

CORES = (32, 64, 100, 128, 256)


def draw_bars(truth: np.ndarray, core: Triple, length: int = 12) -> int:
    """Draw one-voxel diagonal bars where blocks meet, at the middle of the grid, and on free ground; how many were drawn."""
    centre = [max(c, n // 2 // c * c) for n, c in zip(truth.shape, core, strict=True)]
    label, drawn = int(truth.max()), 0
    for signs in product((1, -1, 0), repeat=3):
        if sum(s != 0 for s in signs) < 2 or signs < tuple(-s for s in signs):
            continue
        for shift in range(0, 20 * length, 3):  # along an edge a bar may lie anywhere; at a corner it lies where it must
            bar = [
                tuple(c + (t if s > 0 else -1 - t if s < 0 else 5 + shift) for c, s in zip(centre, signs, strict=True))
                for t in range(-length, length)
            ]
            inside = all(0 < v < n - 1 for voxel in bar for v, n in zip(voxel, truth.shape, strict=True))
            near = inside and any(truth[tuple(slice(v - 1, v + 2) for v in voxel)].any() for voxel in bar)
            if inside and not near:
                label, drawn = label + 1, drawn + 1
                for voxel in bar:
                    truth[voxel] = label
                break
            if 0 not in signs:
                break
    return drawn


def oracle(truth: np.ndarray, grid: BlockGrid, seed: int) -> dict[Triple, np.ndarray]:
    """Of each block the connected parts of the truth in its read region, in a random order."""
    rng = np.random.default_rng(seed)
    fragments = {}
    for block in grid.blocks():
        region = np.ascontiguousarray(truth[block.halo.slices])
        parts, count = cc3d.connected_components(region, connectivity=26, return_N=True)
        fragments[block.index] = np.concatenate([[0], 1 + rng.permutation(count)]).astype(np.uint32)[parts]
    return fragments


def wrong_objects(labels: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    """True objects that are split, results that hold several true objects, and voxels that are foreground in one only."""
    table = contingency(labels, truth)
    real = (table.pred_labels[table.pred] > 0) & (table.true_labels[table.true] > 0)
    pred, true = np.bincount(table.pred[real]), np.bincount(table.true[real])
    return {
        "split": int((true > 1).sum()),
        "merged": int((pred > 1).sum()),
        "voxels": int(((labels > 0) != (truth > 0)).sum()),
    }


def measure(truth: np.ndarray, core: Triple, margin: Triple, seed: int) -> dict[str, Any]:
    """Stitch one truth with one block size."""
    grid = BlockGrid(region=Region.of_shape(truth.shape), core_shape=core, margin=margin)
    fragments = oracle(truth, grid, seed)
    began = time.perf_counter()
    labels = assemble(grid, fragments)
    seconds = time.perf_counter() - began
    faces = list(grid.faces())
    return {
        "core": list(core),
        "halo": list(margin),
        "blocks": len(grid),
        "faces": len(faces),
        "objects": len(np.unique(truth)) - 1,
        "stitched": len(np.unique(labels)) - 1,
        "wrong": wrong_objects(labels, truth),
        "ms_per_face": round(1000 * seconds / max(len(faces), 1), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="512,512,512")
    parser.add_argument("--objects", type=int, default=700)
    parser.add_argument("--truth", help="labels or a mask as TIFF, instead of a scene")
    parser.add_argument("--halo", type=int, default=8)
    parser.add_argument("--cores", default=",".join(map(str, CORES)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    if arguments.truth:
        base = instances(read_labels(arguments.truth)).astype(np.uint32)
    else:
        shape: Triple = tuple(map(int, arguments.shape.split(",")))  # type: ignore[assignment]
        base = make_scene(shape, objects=arguments.objects, seed=arguments.seed)
    base = cc3d.connected_components(base, connectivity=26).astype(np.uint32)
    touching = {label for pair in cc3d.region_graph(base, connectivity=26) for label in pair}
    result: dict[str, Any] = {
        "truth": Path(arguments.truth).name if arguments.truth else f"scene of {base.shape}, seed {arguments.seed}",
        "objects": int(base.max()),
        "touching": len(touching),
        "exact": True,
        "cores": [],
    }
    for length in map(int, arguments.cores.split(",")):
        core: Triple = tuple(min(length, n) for n in base.shape)
        truth = base.copy()
        bars = draw_bars(truth, core)
        margin: Triple = tuple(min(arguments.halo, c) for c in core)
        row = measure(truth, core, margin, arguments.seed) | {"bars": bars}
        print(json.dumps(row), flush=True)
        result["cores"].append(row)
        result["exact"] &= not any(row["wrong"].values())
        if arguments.out:  # row by row: a whole run takes minutes
            Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "cores"}))


if __name__ == "__main__":
    main()
