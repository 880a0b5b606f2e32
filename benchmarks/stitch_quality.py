"""What stitching makes of objects that touch, beside its peers: F1 of the objects for several parts that touch.

    python benchmarks/stitch_quality.py --out benchmarks/results/stitch-quality.json        (needs pip install '.[benchmarks]')

Each scene is cut into blocks. mitoscale and plain face adjacency get the same fragments, the true objects' parts in each
block's read region; ``dask_image.ndmeasure.label`` gets the foreground, which is all it takes. Plain face adjacency joins
what lies opposite each other across the plane between two cores, as block-wise labelling commonly does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.evaluation.object_metrics import object_scores_3d
from synthetic.assemble import assemble
from synthetic.scene import make_scene

MARGIN: Triple = (8, 16, 16)


def face_adjacency(low: np.ndarray, high: np.ndarray, axis: int, plane: int) -> dict[str, np.ndarray]:
    """Join all fragments with voxels opposite each other across the face; called like ``face_edges``."""
    before, behind = low.take(plane - 1, axis), high.take(plane, axis)
    both = (before > 0) & (behind > 0)
    pairs = np.unique(np.stack([before[both], behind[both]], axis=1), axis=0)
    return {"low": pairs[:, 0], "high": pairs[:, 1], "accepted": np.ones(len(pairs), bool)}


def parts(truth: np.ndarray, grid: BlockGrid) -> dict[Triple, np.ndarray]:
    """Of each block the 26-connected parts of the true objects in its read region."""
    cut = {block.index: np.ascontiguousarray(truth[block.halo.slices]) for block in grid.blocks()}
    return {index: cc3d.connected_components(region, connectivity=26, out_dtype=np.uint32) for index, region in cut.items()}


def dask_image(foreground: np.ndarray, core: Triple) -> np.ndarray:
    """Its labels of a binary volume in blocks."""
    import dask.array as da
    from dask_image.ndmeasure import label

    found, _ = label(da.from_array(foreground, chunks=core), structure=np.ones((3, 3, 3)))
    labels: np.ndarray = found.compute(scheduler="synchronous")
    return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="96,160,160")
    parser.add_argument("--core", default="32,64,64")
    parser.add_argument("--objects", type=int, default=40)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    shape, core = (tuple(map(int, text.split(","))) for text in (arguments.shape, arguments.core))
    assert len(shape) == len(core) == 3
    result: dict[str, Any] = {"shape": list(shape), "core": list(core), "margin": list(MARGIN), "touching": {}}
    for touching in (0.0, 0.25, 0.5, 0.75):
        truth = make_scene(shape, objects=arguments.objects, seed=7, touching=touching)
        grid = BlockGrid(region=Region.of_shape(shape), core_shape=core, margin=MARGIN)
        fragments = parts(truth, grid)
        ways = {
            "mitoscale": assemble(grid, fragments),
            "face adjacency": assemble(grid, fragments, compare=face_adjacency),
            "dask-image": dask_image(truth > 0, core),
        }
        row: dict[str, Any] = {"objects": int(truth.max()), "faces": sum(1 for _ in grid.faces())}
        for name, labels in ways.items():
            scores = object_scores_3d(labels, truth)
            row[name] = {"objects": len(np.unique(labels)) - 1, **{k: round(float(scores[k]), 4) for k in ("f1_50", "f1_75")}}
        result["touching"][str(touching)] = row
        print(json.dumps({str(touching): row}))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
