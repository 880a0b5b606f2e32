"""What faults of a volume do to the result: the same crop clean and with each fault, run and scored alike.

    python benchmarks/faults.py DATA                    # a folder with epfl/training.tif and epfl/training_groundtruth.tif
    python benchmarks/faults.py DATA --only clean,hot-pixels --slices 108:124 --out other.json

Each row is what ``mitoscale run --segmenter unet`` does, and ``mitoscale evaluate``, of one small crop: foreground IoU, the
objects found, and how many of them are in the truth. Where a fault makes the volume larger (padding), only the tissue is scored.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import tifffile

from mitoscale.cli import main as command_line
from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.settings import STAGES

RESULTS = Path(__file__).parent / "results"
SLICES = "132:156"
"""Slices on which nothing was trained and no rule was chosen."""
CROP = (slice(512, 704), slice(800, 992))
"""Rows and columns of the crop."""
PAD = 64

Fault = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def padded(value: float) -> Fault:
    """A frame of one grey value, wider than the network sees."""

    def make(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        around = ((0, 0), (PAD, PAD), (PAD, PAD))
        return np.pad(image, around, constant_values=value), np.pad(truth, around)

    return make


def aligned(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slices that were shifted and turned to fit each other: corners and borders that change from slice to slice."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    result, depth = np.pad(image, ((0, 0), (PAD, PAD), (PAD, PAD))), len(image)
    wide = np.pad(truth, ((0, 0), (PAD, PAD), (PAD, PAD)))
    height, width = result.shape[1:]
    y, x = np.mgrid[:height, :width]
    for z in range(depth):
        angle, (dy, dx) = np.deg2rad(rng.uniform(-4, 4)), rng.uniform(-12, 12, 2)
        v, u = y - height / 2 - dy, x - width / 2 - dx
        turned_y, turned_x = np.cos(angle) * v + np.sin(angle) * u, -np.sin(angle) * v + np.cos(angle) * u
        kept = (np.abs(turned_y) < image.shape[1] / 2) & (np.abs(turned_x) < image.shape[2] / 2)
        result[z] = np.where(ndimage.binary_fill_holes(kept), result[z], 0)
        wide[z] = np.where(kept, wide[z], 0)
    return result, wide


def slices_replaced(change: Callable[[np.ndarray, int], np.ndarray], *numbers: int) -> Fault:
    """Some slices changed."""

    def make(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        result = image.copy()
        for z in numbers:
            result[z] = change(image, z)
        return result, truth

    return make


def half_black(image: np.ndarray, z: int) -> np.ndarray:
    """The lower half of a slice is lost."""
    plane = image[z].copy()
    plane[len(plane) // 2 :] = 0
    return plane


def blurred(image: np.ndarray, z: int) -> np.ndarray:
    """A slice out of focus."""
    from scipy import ndimage

    return ndimage.gaussian_filter(image[z].astype(float), 4).astype(image.dtype)


def brighter(image: np.ndarray, z: int) -> np.ndarray:
    """A slice of other brightness and contrast."""
    return np.clip(image[z] * 0.5 + 110, 0, 255).astype(image.dtype)


def jumped(image: np.ndarray, z: int) -> np.ndarray:
    """A slice that lies elsewhere."""
    return np.roll(image[z], (25, -20), (0, 1))


def hot(share: float) -> Fault:
    """Broken pixels of a 16-bit camera."""

    def make(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wide = image.astype(np.uint16) * 20
        wide[np.random.default_rng(1).random(image.shape) < share] = 65535
        return wide, truth

    return make


def one_voxel(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A float volume with a single absurd value."""
    result = image.astype(np.float32) / 255
    result[10, 20, 30] = 1e6
    return result, truth


def drifting(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness that falls from the first slice to the last, and contrast with it."""
    gain = np.linspace(1.0, 0.5, len(image))[:, None, None]
    return np.clip(image * gain, 0, 255).astype(np.uint8), truth


def mosaic(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two tiles side by side, one darker."""
    result = image.astype(float)
    result[:, :, image.shape[2] // 2 :] *= 0.6
    return result.astype(np.uint8), truth


FAULTS: dict[str, Fault] = {
    "clean": lambda image, truth: (image, truth),
    "uint16": hot(0.0),
    "padded-black": padded(0),
    "padded-white": padded(255),
    "padded-grey": padded(128),
    "aligned": aligned,
    "black-slice": slices_replaced(lambda image, z: np.zeros_like(image[z]), 11),
    "two-black-slices": slices_replaced(lambda image, z: np.zeros_like(image[z]), 11, 12),
    "half-black-slice": slices_replaced(half_black, 11),
    "duplicated-slice": slices_replaced(lambda image, z: image[z - 1], 11),
    "blurred-slice": slices_replaced(blurred, 11),
    "brighter-slice": slices_replaced(brighter, 11),
    "jumped-slice": slices_replaced(jumped, 11),
    "hot-pixels": hot(0.004),
    "float-one-voxel": one_voxel,
    "drift-over-z": drifting,
    "mosaic": mosaic,
    "missing-slice": lambda image, truth: (image, truth),
    "six-missing-slices": lambda image, truth: (image, truth),
}

MISSING = {"missing-slice": (11,), "six-missing-slices": (9, 10, 11, 12, 13, 14)}
"""Slices whose files are not in the folder that is read."""


@contextmanager
def in_this_process(settings: Any) -> Iterator[SimpleNamespace]:
    """Stands where the commands start a cluster: the same tasks here, so that the networks' library is loaded once for all."""
    client = SimpleNamespace(status="closed", register_plugin=lambda plugin: None, run_on_scheduler=lambda *_: False)
    yield SimpleNamespace(executor=SerialExecutor(), dashboard_link="(none)", client=client, preload=lambda load: None)


def mitoscale(*arguments: str) -> str:
    """What a command prints; the script ends where it fails."""
    out = io.StringIO()
    with redirect_stdout(out), patch("mitoscale.cli.launch.start", in_this_process):
        try:
            command_line(arguments)
        except SystemExit as stop:
            if stop.code:
                raise
    return out.getvalue()


def scored(folder: Path, image: np.ndarray, truth: np.ndarray, missing: tuple[int, ...]) -> dict[str, Any]:
    """Run and evaluate one volume; where slices are missing it is a folder of slices."""
    source, options = folder / "image.tif", ["--voxel-size", "5,5,5", "--segmenter", "unet"]
    if missing:
        source, options = folder / "image", [*options, "--fill-gaps"]
        source.mkdir()
        for z in sorted(set(range(len(image))) - set(missing)):
            tifffile.imwrite(source / f"{z:03d}.tif", image[z])
    else:
        tifffile.imwrite(source, image)
    tifffile.imwrite(folder / "truth.tif", truth)
    run = str(folder / "run")
    said = mitoscale("convert", str(source), run, *options)
    for stage in STAGES[1:-1]:  # all that mitoscale run does, but the report
        mitoscale(stage, run)
    scores = json.loads(mitoscale("evaluate", run, str(folder / "truth.tif"), "--json"))
    objects = scores["objects_3d"]
    return {
        "iou": round(scores["foreground"]["iou"], 4),
        "objects": objects["n_pred"],
        "right": objects["tp50"],
        "told": [" ".join(line.split()[1:]) for line in said.splitlines() if line.startswith("grey")],
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| fault | IoU | less than clean | objects, of them right |", "| --- | --- | --- | --- |"]
    clean = results.get("clean", {}).get("iou", float("nan"))
    for name, row in results.items():
        lines.append(f"| {name} | {row['iou']:.3f} | {clean - row['iou']:+.3f} | {row['objects']}, {row['right']} |")
    return "\n".join(lines)


def benchmark() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", help="Names of faults, separated by commas.")
    parser.add_argument("--slices", default=SLICES)
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json")
    arguments = parser.parse_args()
    z = slice(*map(int, arguments.slices.split(":")))
    files = (arguments.data / "epfl" / f"{name}.tif" for name in ("training", "training_groundtruth"))
    image, truth = (tifffile.imread(file)[(z, *CROP)] for file in files)
    results = {}
    for name in arguments.only.split(",") if arguments.only else FAULTS:
        with tempfile.TemporaryDirectory(prefix="mitoscale-faults-") as folder:
            results[name] = scored(Path(folder), *FAULTS[name](image, truth), MISSING.get(name, ()))
        print(name, results[name], flush=True)
    arguments.out.write_text(json.dumps({"slices": arguments.slices, "results": results}, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    benchmark()
