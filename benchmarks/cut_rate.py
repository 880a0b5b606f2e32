"""Are objects cut more often at block faces than inside blocks?

Scenes of touching, branching, U- and W-shaped tubes are given as masks of slices with mistakes, linked block by block and stitched.
A crossing is a true object's profile that goes on from one side of a plane to the other; it is cut where most of the pixels that
were found on both sides have different labels. Face planes are compared with the middle planes of blocks, as many and of the
same axes. ``shared``: all blocks see the same mistakes, as of a network that answers alike in alike places; ``own``: each block
makes mistakes of its own, also where it overlaps its neighbours.

    python benchmarks/cut_rate.py --own --out benchmarks/results/cut-rate.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.ops.link import link, open_ends
from mitoscale.ops.seams import contacts, interval
from synthetic.assemble import assemble
from synthetic.perturb import Mistakes, perturb
from synthetic.scene import make_scene

SPACING = (10.0, 10.0, 10.0)
LEAST = 5
"""Pixels of the smallest crossing that counts."""


def crossings(truth: np.ndarray, labels: np.ndarray, axis: int, plane: int) -> tuple[int, int]:
    """Crossings of a plane that were found on both sides, and how many of them are cut."""
    sides = [np.ascontiguousarray(truth.take(p, axis)) for p in (plane - 1, plane)]
    parts = [cc3d.connected_components(side.astype(np.uint32), connectivity=8).astype(np.uint32) for side in sides]
    found = contacts(*parts)
    same = sides[0][found["v"], found["u"]] == sides[1][found["v"], found["u"]]
    before, behind = (labels.take(p, axis) for p in (plane - 1, plane))
    both = (before > 0) & (behind > 0)
    count = cut = 0
    for a, b in zip(found["before"][same & found["mutual"]], found["behind"][same & found["mutual"]], strict=True):
        where = both & (parts[0] == a) & (parts[1] == b)
        pixels = int(where.sum())
        if pixels >= LEAST:
            count += 1
            cut += int(2 * (before[where] != behind[where]).sum() > pixels)
    return count, cut


def stitched(truth: np.ndarray, grid: BlockGrid, mistakes: Mistakes, seed: int, own: bool) -> np.ndarray:
    """(Z, Y, X) labels."""
    shared = None if own else perturb(truth, mistakes, seed)
    fragments = {}
    for block in grid.blocks():
        if shared is None:
            masks = perturb(truth[block.halo.slices], mistakes, seed + 1 + grid.number(block.index))
        else:  # a mask that leaves the read region may come back elsewhere: there its parts are masks of their own
            part = shared[block.halo.slices]
            masks = np.stack([cc3d.connected_components(np.ascontiguousarray(p), connectivity=8) for p in part])
        fragments[block.index] = link(masks, SPACING, open_ends=open_ends(block))
    return assemble(grid, fragments)


def measure(arguments: argparse.Namespace, strength: float, own: bool) -> dict[str, Any]:
    """Cut rates over all scenes."""
    shape, core, halo = (tuple(map(int, text.split(","))) for text in (arguments.shape, arguments.core, arguments.halo))
    counts: Counter[str] = Counter()
    for seed in range(arguments.scenes):
        truth = make_scene(_triple(shape), objects=arguments.objects, seed=seed, radius=(3, 6), length=(25, 80))
        grid = BlockGrid(region=Region.of_shape(_triple(shape)), core_shape=_triple(core), margin=_triple(halo))
        labels = stitched(truth, grid, Mistakes.of_strength(strength), 1000 * seed, own)
        for axis in range(3):
            for plane in range(core[axis], shape[axis], core[axis]):
                for kind, where in (("face", plane), ("inner", plane - core[axis] // 2)):
                    count, cut = crossings(truth, labels, axis, where)
                    counts[kind] += count
                    counts[f"{kind}_cut"] += cut
    row: dict[str, Any] = {"strength": strength, "mistakes": "own" if own else "shared"}
    for kind in ("face", "inner"):
        low, high = interval(counts[f"{kind}_cut"], counts[kind])
        rate = counts[f"{kind}_cut"] / max(counts[kind], 1)
        row[kind] = {
            "crossings": counts[kind],
            "cut": counts[f"{kind}_cut"],
            "percent": round(100 * rate, 3),
            "percent_95": [round(100 * low, 3), round(100 * high, 3)],
        }
    row["difference_in_points"] = round(row["face"]["percent"] - row["inner"]["percent"], 3)
    return row


def _triple(values: tuple[int, ...]) -> Triple:
    z, y, x = values
    return z, y, x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="256,384,384")
    parser.add_argument("--core", default="32,64,64")
    parser.add_argument("--halo", default="8,16,16")
    parser.add_argument("--objects", type=int, default=1500)
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--strengths", default="0,0.25")
    parser.add_argument("--own", action="store_true", help="also with mistakes of each block's own")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    result: dict[str, Any] = {name: getattr(arguments, name) for name in ("shape", "core", "halo", "objects", "scenes")}
    result["rows"] = []
    for strength in map(float, arguments.strengths.split(",")):
        for own in (False, True) if arguments.own and strength else (False,):
            result["rows"].append(measure(arguments, strength, own))
            print(json.dumps(result["rows"][-1]), flush=True)
            if arguments.out:  # row by row: a whole run takes minutes
                Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
