"""How time and memory grow with the volume: the whole pipeline on volumes of 1, 8 and 64 times the size, in equal blocks.

    python benchmarks/growth.py --out benchmarks/results/growth.json

One phantom is mirrored along each axis again and again, and its truth is the detector (the watershed makes the objects), so that
what grows is the system: conversion, blocks, ledgers, faces, merge, relabelling, tables. ``exponent`` is the slope of log time
over log volume: 1 is proportional, below 1 there is a part that does not grow. ``of the last step`` is that between the two
largest, where a fixed part counts least. Processor seconds of all processes are what other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.ops.phantom import make_phantom
from mitoscale.pipeline import load
from mitoscale.pipeline.status import progress
from mitoscale.storage.tiff_writing import write_tiff
from process_tree import measure

ONE = (32, 128, 128)
"""Voxels of the smallest volume."""

STEPS = (1, 2, 4)
"""How often it is repeated along each axis."""


def repeated(array: np.ndarray, times: int) -> np.ndarray:
    """Mirrored at each repetition; labels get numbers of their own by connected components later."""
    for axis in range(3):
        array = np.concatenate([np.flip(array, axis) if n % 2 else array for n in range(times)], axis)
    return array


def measured(folder: str, times: int, block: str, workers: int) -> dict[str, Any]:
    """The pipeline on one size."""
    phantom = make_phantom(ONE, objects=9, seed=12, touching=0.0)
    image, truth, run = (str(Path(folder, f"{times}.{end}")) for end in ("tif", "npy", "run"))
    write_tiff(image, repeated(phantom.image, times), phantom.spacing)
    np.save(truth, repeated(phantom.labels, times))
    command = [sys.executable, "-m", "mitoscale", "run", image, run, "--block", block, "--workers", str(workers)]
    command += ["--detector", "mitoscale.nets.oracle:Foreground", "--detector-option", f"truth={truth}", "--segmenter", "unet"]
    took = measure(command, {**os.environ, "OMP_NUM_THREADS": "1"})
    found = progress(load(run))
    assert found.finished and not any(stage.quarantined for stage in found.stages)
    return {
        "voxels": math.prod(ONE) * times**3,
        "blocks": next(stage.tasks for stage in found.stages if stage.name == "segment"),
        "seconds": round(took.seconds, 1),
        "processor_seconds": round(took.processor_seconds, 1),
        "peak_gib": round(took.peak_bytes / 2**30, 3),
        "peak_process_gib": round(took.peak_process_bytes / 2**30, 3),
        "stages": {stage.name: round(stage.seconds["wall"], 2) for stage in found.stages},
    }


def exponents(sizes: list[dict[str, Any]], what: str) -> dict[str, float]:
    """Slopes of log ``what`` over log voxels."""
    steps = {"over all": (sizes[0], sizes[-1]), "of the last step": (sizes[-2], sizes[-1])}
    return {name: round(math.log(b[what] / a[what]) / math.log(b["voxels"] / a["voxels"]), 3) for name, (a, b) in steps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--block", default="16,64,64")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="repetitions along each axis")
    parser.add_argument("--scratch", help="folder for volumes and runs")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    sizes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="mitoscale-growth-") as folder:
        for times in map(int, arguments.steps.split(",")):
            sizes.append(measured(folder, times, arguments.block, arguments.workers))
            print(json.dumps(sizes[-1]), flush=True)
    result = {
        "claim": "time grows in proportion to the volume, memory does not grow",
        "block": arguments.block,
        "workers": arguments.workers,
        "exponent": {what: exponents(sizes, what) for what in ("seconds", "processor_seconds", "peak_process_gib")},
        "sizes": sizes,
        "machine": f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end",
    }
    print(json.dumps(result["exponent"], indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
