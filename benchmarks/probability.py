"""What may be done to a U-Net's probability before profiles are made of it, and what it is worth: other views, a median, a CRF.

    python benchmarks/probability.py DATA --threads 1 --out benchmarks/results/probability.json
    python benchmarks/probability.py DATA --only vnc

DATA is a folder with the volumes of ``fusion.py``; of each a slab is detected, with weights that have not learnt from it
(``SLABS``). The ways: each slice once; what a run does (where slices are thin each in one of four orientations, averaged with its
neighbours 1 : 2 : 1); twice, turned round; in all eight orientations; and of what a run does the median of 3 x 3 x 3 voxels, and a
conditional random field (mean field of Krähenbühl and Koltun 2011, arXiv 1210.5644, with the six nearest voxels in place of all: a
neighbour counts by how near its grey value is, and less across thick slices). Foreground IoU, and sa50 and msa of the watershed's
profiles (2D). Seconds are those of the network and of what follows, for a million voxels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from fusion import VOLUMES, scores, truth_of
from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.evaluation.grey_volume import open_grey
from mitoscale.nets.device import device_name, set_threads
from mitoscale.nets.unet_detector import UNetDetector, detector_on_cpu
from mitoscale.ops.fusion import Fusion

TWIN = str(Path(__file__).parent / "weights" / "unet-split.safetensors")
SLABS: dict[str, tuple[str, tuple[int, int]]] = {
    "epfl, tuning": (TWIN, (108, 124)),
    "epfl": (TWIN, (132, 165)),
    "vnc": ("unet-varied", (0, 20)),
    "mitoem_r": ("unet-small", (0, 16)),
    "fib25_2": ("unet-varied", (100, 140)),
}
"""Volume -> weights, and first and last slice; the tuning slices of ``epfl`` chose which weights were kept."""

Way = Callable[[UNetDetector, np.ndarray, range], np.ndarray]


def once(detector: UNetDetector, image: np.ndarray, slices: range) -> np.ndarray:
    """Each slice by itself."""
    return detector.probability(image, slices)


def as_run(detector: UNetDetector, image: np.ndarray, slices: range) -> np.ndarray:
    """As a run does, which computes the wanted slices and their next neighbours."""
    whole = Region.of_shape(image.shape)
    core = Region(start=(slices.start, 0, 0), stop=(slices.stop, *image.shape[1:]))
    return detector.core_foreground(image, whole, core).foreground / np.float32(255)


def in_orientations(number: int) -> Way:
    """The mean over so many orientations: 2 are the half turn, 8 all with quarter turns."""

    def way(detector: UNetDetector, image: np.ndarray, slices: range) -> np.ndarray:
        total = np.zeros((len(slices), *image.shape[1:]), np.float32)
        turns = [(0, False), (2, False)] if number == 2 else [(k, flip) for k in range(4) for flip in (False, True)]
        for k, flip in turns:
            seen = np.rot90(image[..., ::-1] if flip else image, k, (1, 2))
            found = np.rot90(detector.probability(np.ascontiguousarray(seen), slices), -k, (1, 2))
            total += found[..., ::-1] if flip else found
        return total / len(turns)

    return way


def median(detector: UNetDetector, image: np.ndarray, slices: range) -> np.ndarray:
    """Median of 3 x 3 x 3 of what a run has."""
    return ndimage.median_filter(as_run(detector, image, slices), size=3)


def random_field(spacing: Spacing, weight: float = 1.0, steps: int = 5, contrast: float = 20.0) -> Way:
    """A conditional random field over nearest neighbours, from what a run has."""
    strength = [weight * spacing[2] / s for s in spacing]

    def way(detector: UNetDetector, image: np.ndarray, slices: range) -> np.ndarray:
        found = np.clip(as_run(detector, image, slices), 1e-4, 1 - 1e-4)
        grey = image[slices.start : slices.stop].astype(np.float32)
        own = np.log(found / (1 - found))
        likeness = [s * np.exp(-np.square(np.diff(grey, axis=a) / contrast) / 2) for a, s in enumerate(strength)]
        for _ in range(steps):
            said, pull = 2 * found - 1, np.zeros_like(found)
            for a, like in enumerate(likeness):
                low, high = (
                    tuple(slice(*((0, -1) if end == 0 else (1, None))) if i == a else slice(None) for i in range(3))
                    for end in (0, 1)
                )
                pull[low] += like * said[high]
                pull[high] += like * said[low]
            found = 1 / (1 + np.exp(-(own + pull)))
        return found

    return way


def measured(name: str, data: Path) -> list[dict[str, Any]]:
    """A row for each way."""
    weights, (start, stop) = SLABS[name]
    volume = VOLUMES[name.split(",")[0]]
    grey = open_grey(str(data / volume.image), volume.spacing)
    reach = 8
    first, last = max(0, start - reach), min(grey.source.shape[0], stop + reach)
    image = grey.read(Region(start=(first, 0, 0), stop=(last, *grey.source.shape[1:])))
    slices = range(start - first, stop - first)
    truth = truth_of(replace(volume, slices=tuple(range(start, stop))), data)
    detector = detector_on_cpu(weights, volume.spacing)
    fusion = Fusion(detect=DetectSettings(), segment=SegmentSettings(), spacing=volume.spacing)
    ways: dict[str, Way] = {
        "each slice once": once,
        "as a run": as_run,
        "twice": in_orientations(2),
        "eight orientations": in_orientations(8),
        "as a run, median": median,
        "as a run, CRF": random_field(volume.spacing),
    }
    rows = []
    for way, function in ways.items():
        began = time.perf_counter()
        found = function(detector, image, slices)
        seconds = (time.perf_counter() - began) / found.size * 1e6
        scored = scores(fusion.profiles(found).labels, truth, volume.border)
        row: dict[str, Any] = {"volume": name, "slices": f"{start}:{stop}", "weights": Path(weights).stem, "way": way}
        row |= {key: round(value, 4) for key, value in scored.items()} | {"seconds_per_mvoxel": round(seconds, 3)}
        rows.append(row)
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", choices=list(SLABS))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    rows = [row for name in arguments.only or SLABS for row in measured(name, arguments.data)]
    if arguments.out:
        result = {"machine": device_name(), "threads": arguments.threads, "rows": rows}
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
