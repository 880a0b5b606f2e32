"""Linking and stitching, given the true masks of each slice: are the objects found, and which are missed, and why?

A block gets the 8-connected parts of each true object in each slice of its read region, unlinked. The truth is a scene of
touching, branching, U- and W-shaped tubes at several z-steps, or (with --truth) any label volume or mask in a TIFF. Objects of
1,000 voxels and more count. Each miss is listed with what slices show of it. Scores are given over all objects, and over those
that slices can tell (``undecidable.py`` says which these are, from the truth alone).

    python benchmarks/oracle_masks.py --out benchmarks/results/oracle-masks.json
    python benchmarks/oracle_masks.py --truth truth.tif --voxel-size 5,5,5 --out benchmarks/results/oracle-masks-epfl.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.evaluation.label_reading import read_labels
from mitoscale.evaluation.object_metrics import match, object_scores, object_scores_3d
from mitoscale.ops.contingency import contingency
from mitoscale.ops.instances import instances
from mitoscale.ops.link import link, open_ends
from synthetic.assemble import assemble
from synthetic.perturb import Mistakes, perturb
from synthetic.scene import make_scene
from undecidable import undecidable

LEAST = 1000
"""Voxels of the smallest object that counts."""


def linked(truth: np.ndarray, grid: BlockGrid, spacing: Spacing, thresholds: dict[str, Any]) -> np.ndarray:
    """(Z, Y, X) labels from the true masks of each block's slices."""
    fragments = {}
    for block in grid.blocks():
        masks = perturb(truth[block.halo.slices], Mistakes(), seed=0)
        fragments[block.index] = link(masks, spacing, open_ends=open_ends(block), **thresholds)
    return assemble(grid, fragments)


def misses(labels: np.ndarray, truth: np.ndarray, iou: float) -> list[dict[str, Any]]:
    """The true objects that no result matches, and what slices show of them."""
    table = contingency(labels, truth)
    pred_size, true_size = table.pred_size, table.true_size
    real = (table.pred_labels[table.pred] > 0) & (table.true_labels[table.true] > 0)
    overlap = table.count / (pred_size[table.pred] + true_size[table.true] - table.count)
    found = []
    for i in np.flatnonzero((table.true_labels > 0) & (true_size >= LEAST)):
        own = real & (table.true == i)
        if overlap[own].max(initial=0) >= iou:
            continue
        parts = table.pred_labels[table.pred[own & (table.count >= 0.02 * true_size[i])]]
        others = np.unique(table.true[real & np.isin(table.pred, table.pred[own]) & (table.true != i)])
        near = _box(truth == table.true_labels[i])
        found.append(
            {
                "object": int(table.true_labels[i]),
                "voxels": int(true_size[i]),
                "at": [(s.start + s.stop) // 2 for s in near],
                "best_iou": round(float(overlap[own].max(initial=0)), 3),
                "parts": _parts(labels[near], truth[near] == table.true_labels[i], parts),
                "fused_with": [_contact(truth, int(table.true_labels[i]), int(table.true_labels[o])) for o in others],
            }
        )
    return found


def _parts(labels: np.ndarray, inside: np.ndarray, parts: np.ndarray) -> list[dict[str, Any]]:
    """Each pair of parts of one object: by how much their masks overlap in neighbouring slices at most."""
    pairs = []
    for n, a in enumerate(parts):
        for b in parts[n + 1 :]:
            most, shared = 0.0, 0
            for z in range(len(labels) - 1):
                for p, q in ((a, b), (b, a)):
                    low, high = (labels[z] == p) & inside[z], (labels[z + 1] == q) & inside[z + 1]
                    both = int((low & high).sum())
                    shared += both
                    most = max(most, both / max(min(int(low.sum()), int(high.sum())), 1))
            pairs.append({"shared_pixels": shared, "most_of_the_smaller": round(most, 3)})
    return pairs


def _contact(truth: np.ndarray, a: int, b: int) -> dict[str, int]:
    """How two true objects touch: pixel pairs within slices, and pixels that face each other in neighbouring slices."""
    near = _box((truth == a) | (truth == b))
    crop = truth[near]
    within = 0
    for axis in (1, 2):
        first, second = np.moveaxis(crop, axis, 0)[:-1], np.moveaxis(crop, axis, 0)[1:]
        within += int((((first == a) & (second == b)) | ((first == b) & (second == a))).sum())
    facing = int((((crop[:-1] == a) & (crop[1:] == b)) | ((crop[:-1] == b) & (crop[1:] == a))).sum())
    return {"object": b, "contact_within_slices": within, "contact_between_slices": facing}


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    where = [np.flatnonzero(mask.any(axis=tuple(o for o in range(3) if o != axis))) for axis in range(3)]
    return tuple(slice(int(w[0]), int(w[-1]) + 1) for w in where)


def reason(miss: dict[str, Any]) -> str:
    """What slices show of a miss, in words."""
    if miss["fused_with"]:
        most = max(miss["fused_with"], key=lambda c: c["contact_between_slices"])
        if not most["contact_between_slices"] and not most["contact_within_slices"]:
            return "goes on behind one or two slices where the truth has no mask"
        if most["contact_between_slices"] > most["contact_within_slices"]:
            return "touches end to end in z"
        return "merged with a neighbour beside it"
    if any(p["shared_pixels"] == 0 for p in miss["parts"]):
        return "its parts overlap in no pair of slices"
    return "its parts overlap too little from slice to slice"


def measure(
    name: str, truth: np.ndarray, core: Triple, margin: Triple, spacing: Spacing, thresholds: dict[str, Any]
) -> dict[str, Any]:
    """Scores and misses of one truth."""
    grid = BlockGrid(region=Region.of_shape(truth.shape), core_shape=core, margin=margin)
    labels = linked(truth, grid, spacing, thresholds)
    scores = object_scores_3d(labels, truth, LEAST)
    missed = misses(labels, truth, 0.75)
    untold = undecidable(truth, spacing)
    for miss in missed:
        miss["reason"] = reason(miss)
        miss["undecidable"] = untold.get(miss["object"], "")
    told = object_scores([match(contingency(labels, truth), LEAST, untold)])
    large = set((np.flatnonzero(np.bincount(truth.ravel())[1:] >= LEAST) + 1).tolist())
    return {
        "truth": name,
        "shape": list(truth.shape),
        "spacing_nm": list(spacing),
        "blocks": len(grid),
        "objects": scores["n_true"],
        "f1_50": round(scores["f1_50"], 4),
        "f1_75": round(scores["f1_75"], 4),
        "decidable": {
            "objects": told["n_true"],
            "f1_50": round(told["f1_50"], 4),
            "f1_75": round(told["f1_75"], 4),
            "misses": sum(not m["undecidable"] for m in missed),
        },
        "undecidable": dict(Counter(why for label, why in untold.items() if label in large)),
        "misses": missed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", help="labels or a mask as TIFF, instead of scenes")
    parser.add_argument("--voxel-size", default="10,10,10")
    parser.add_argument("--shape", default="240,320,320")
    parser.add_argument("--objects", type=int, default=170)
    parser.add_argument("--seeds", default="0,1,2,3,4", help="seeds of the scenes")
    parser.add_argument("--steps", default="1,2,4", help="slices left out of the scene: its z-steps")
    parser.add_argument("--iou", type=float, help="another threshold of the linking than the default")
    parser.add_argument("--iom", type=float, help="another threshold of the linking than the default")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    spacing: Spacing = tuple(map(float, arguments.voxel_size.split(",")))  # type: ignore[assignment]
    thresholds: dict[str, Any] = {name: value for name in ("iou", "iom") if (value := getattr(arguments, name)) is not None}
    rows = []
    if arguments.truth:
        truth = cc3d.connected_components(instances(read_labels(arguments.truth)).astype(np.uint32), connectivity=26)
        rows.append(measure(Path(arguments.truth).name, truth, (64, 256, 256), (8, 64, 64), spacing, thresholds))
    else:
        shape: Triple = tuple(map(int, arguments.shape.split(",")))  # type: ignore[assignment]
        for seed in map(int, arguments.seeds.split(",")):
            scene = make_scene(shape, objects=arguments.objects, seed=seed)
            for step in map(int, arguments.steps.split(",")):
                truth = cc3d.connected_components(np.ascontiguousarray(scene[::step]), connectivity=26)
                core = (max(64 // step, 16), 128, 128)
                there: Spacing = (spacing[0] * step, *spacing[1:])
                rows.append(measure(f"scene {seed}", truth, core, (8, 32, 32), there, thresholds))
    for row in rows:
        print(json.dumps({k: v for k, v in row.items() if k != "misses"}))
        for miss in row["misses"]:
            print("  missed", json.dumps(miss))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
