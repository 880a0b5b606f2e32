"""The merge of a large volume's fragments: time, memory for each edge, and where it ends, beside one merge over everything.

    python benchmarks/merge.py --out merge.json

Edges are drawn, not found: a cubic grid of blocks, in each block 509 fragments numbered in an order of its own, and at each
face as many edges as asked for. Objects wind through hundreds of blocks, most cross super-blocks, and the largest go from one end
of the volume to the other, which is harder than tissue. Both ways run in processes of their own, must give every fragment
the same label, and count the time it takes to draw the edges.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import SUPER_BLOCK, BlockGrid
from mitoscale.core.super_blocks import faces_from, indices_in
from mitoscale.ops.global_ids import LOCAL_BITS, MOST_FRAGMENTS, merge, pack, unpack
from mitoscale.stages.merge import MergedLabels, merge_fragments

FRAGMENTS = 509
"""A prime, so that each block can number its fragments by another multiple."""

CORE_VOXELS = 64 * 512 * 512
"""Of the default block."""


class Synthetic:
    """Fragments and edges of a cubic grid, the same each time they are asked for."""

    def __init__(self, side: int, per_face: int) -> None:
        self.grid = BlockGrid(region=Region.of_shape((side, side, side)), core_shape=(1, 1, 1), margin=(0, 0, 0))
        self.per_face = per_face
        self.seconds = 0.0
        self.edges_drawn = 0

    def fragments(self) -> np.ndarray:
        """(N,) uint32 local ids of any block."""
        return np.arange(1, FRAGMENTS + 1, dtype=np.uint32)

    def edges(self, low: int, high: int) -> np.ndarray:
        """(E, 2) uint64 of a face between the blocks of these numbers."""
        began = time.perf_counter()
        objects = np.random.default_rng((low, high)).permutation(FRAGMENTS)[: self.per_face]
        ends = [pack(n, (1 + (objects * (1 + n % (FRAGMENTS - 1)) + n) % FRAGMENTS).astype(np.uint32)) for n in (low, high)]
        self.seconds += time.perf_counter() - began
        self.edges_drawn += len(objects)
        return np.stack(ends, axis=1)


def super_blocks(made: Synthetic, scratch: str) -> dict[str, Any]:
    """What mitoscale does."""
    grid, labels = made.grid, MergedLabels(scratch)

    def edges(corner: Triple) -> np.ndarray:
        return np.concatenate([np.zeros((0, 2), np.uint64), *(made.edges(f.low, f.high) for f in faces_from(grid, corner))])

    def fragments(corner: Triple) -> np.ndarray:
        return np.concatenate([pack(grid.number(index), made.fragments()) for index in indices_in(grid, corner)])

    numbers = merge_fragments(grid, fragments=fragments, edges=edges, labels=labels)
    digests = np.zeros(len(grid), np.uint32)
    for corner in grid.super_block_corners():
        raw, label = labels.of(corner)
        for first in range(0, len(raw), FRAGMENTS):
            digests[int(unpack(raw[first : first + 1])[0][0])] = zlib.crc32(label[first : first + FRAGMENTS].tobytes())
    return {
        "objects": numbers.count,
        "shared_by_super_blocks": len(numbers.shared),
        "digest": zlib.crc32(digests.tobytes()),
    }


def one_piece(made: Synthetic, scratch: str) -> dict[str, Any]:
    """SciPy's connected components over all fragments at once."""
    raw = np.concatenate([pack(n, made.fragments()) for n in range(len(made.grid))])
    edges = np.concatenate([made.edges(f.low, f.high) for c in made.grid.super_block_corners() for f in faces_from(made.grid, c)])
    labels = merge(raw, edges).reshape(len(made.grid), FRAGMENTS)
    digests = np.array([zlib.crc32(row.tobytes()) for row in labels], np.uint32)
    return {"objects": int(labels.max()), "digest": zlib.crc32(digests.tobytes())}


def measured(way: str, side: int, per_face: int) -> dict[str, Any]:
    """Run one way in this process."""
    made = Synthetic(side, per_face)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began, spent = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = {"super-blocks": super_blocks, "one piece": one_piece}[way](made, f"{folder}/merge")
    seconds, cpu = time.perf_counter() - began, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result | {
        "edges": made.edges_drawn,
        "fragments": len(made.grid) * FRAGMENTS,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "of_which_drawing_edges": round(made.seconds, 1),
        "peak_gib": round(peak / 2**30, 2),
        "bytes_per_edge": round((peak - before) / made.edges_drawn, 1),
    }


def limits(result: dict[str, Any], side: int) -> dict[str, Any]:
    """Where ids and the graph of what super-blocks share end, in petabytes of 8-bit voxels and default blocks."""
    petabyte_blocks = 10**15 / CORE_VOXELS
    surfaces = 3 * side * side * ((side - 1) // SUPER_BLOCK)  # faces between super-blocks
    per_face = result["shared_by_super_blocks"] / max(surfaces, 1)
    per_block = 3 / SUPER_BLOCK * per_face  # in a volume of any size
    return {
        "block_ids_end_at_pb": round(2 ** (64 - LOCAL_BITS) / petabyte_blocks),
        "fragments_in_a_block_end_at": 2**LOCAL_BITS - 1,
        "labels_end_at": 2**64 - 1,
        "shared_per_block": round(per_block, 1),
        "shared_end_at_pb": round(MOST_FRAGMENTS / per_block / petabyte_blocks, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=47, help="blocks along each edge of the grid")
    parser.add_argument("--edges-per-face", type=int, default=165)
    parser.add_argument("--out")
    parser.add_argument("--way", choices=("super-blocks", "one piece"), help="run this way alone, in this process")
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measured(arguments.way, arguments.side, arguments.edges_per_face)))
        return
    result: dict[str, Any] = {"blocks": arguments.side**3}
    for way in ("super-blocks", "one piece"):
        command = [sys.executable, __file__, "--side", str(arguments.side), "--edges-per-face", str(arguments.edges_per_face)]
        done = subprocess.run([*command, "--way", way], check=True, capture_output=True, text=True)
        result[way] = json.loads(done.stdout)
    ours, peer = result["super-blocks"], result["one piece"]
    if (ours["digest"], ours["objects"]) != (peer["digest"], peer["objects"]):
        sys.exit(f"labels differ: {ours} {peer}")
    result |= {
        "labels": "every fragment has the same label both ways",
        "time_ratio": round(ours["cpu_seconds"] / peer["cpu_seconds"], 2),
        "memory_ratio": round(ours["peak_gib"] / peer["peak_gib"], 2),
        "limits": limits(ours, arguments.side),
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
