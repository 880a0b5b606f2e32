"""How far into a window its edge is felt: what a U-Net says near the edge of a window, beside what it says of the whole slice.

    python benchmarks/unet_margin.py epfl/training.tif=5,5,5 vnc/raw=50,4.6,4.6 --out benchmarks/results/unet-margin.json

Windows lie on the network's lattice, as blocks do, and away from the slice's own border. For each distance from the window's
edge: the share of pixels whose probability differs by more than 1/255, and of pixels that change sides at the threshold 0.5.
``mitoscale.nets.margin`` holds the margin that was chosen by it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from mitoscale.core.geometry import Region
from mitoscale.evaluation.grey_volume import open_grey
from mitoscale.nets.checkpoint import load_unet
from mitoscale.nets.device import autocast, device, device_name, set_threads
from mitoscale.nets.unet import UNet

STEP = 8
"""Distances are counted in steps of so many pixels."""


def probability(model: UNet, channels: np.ndarray) -> np.ndarray:
    """(Y, X) of one slice and its context, (C, Y, X) uint8."""
    where = device()
    image = torch.from_numpy(channels)[None].to(where).float() / 255
    with torch.inference_mode(), autocast(where):
        found: np.ndarray = model(image).float().sigmoid()[0, 0].cpu().numpy()
    return found


def windows(shape: tuple[int, ...], size: int, stride: int) -> list[tuple[int, int]]:
    """First pixels of windows on the lattice, none of which touches the border of a slice."""
    starts = [range(3 * stride, n - size - 3 * stride + 1, size) for n in shape]
    return [(y, x) for y in starts[0] for x in starts[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="+", help="SOURCE=Z,Y,X: voxel size in nm, about the network's in y and x")
    parser.add_argument("--detector", default="unet-small")
    parser.add_argument("--slices", default="2,10,18")
    parser.add_argument("--window", type=int, default=320)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    model, _ = load_unet(arguments.detector)
    model = model.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = arguments.window
    ramp = np.minimum(np.arange(size), size - 1 - np.arange(size))
    distance = np.minimum.outer(ramp, ramp) // STEP
    result: dict[str, object] = {
        "detector": arguments.detector,
        "window": size,
        "slices": arguments.slices,
        "machine": device_name(),
        "volumes": {},
    }
    for path in arguments.volumes:
        path, _, told = path.rpartition("=")
        spacing = tuple(map(float, told.split(",")))
        grey = open_grey(path, spacing)  # type: ignore[arg-type]
        volume = grey.read(Region.of_shape(grey.source.shape))
        steps = [round(nm / spacing[0]) for nm in model.config.context_nm]
        pixels, differ, flip, most = (np.zeros(size // 2 // STEP) for _ in range(4))
        for z in map(int, arguments.slices.split(",")):
            channels = volume[[min(max(z + s, 0), len(volume) - 1) for s in steps]]
            whole = probability(model, channels)
            for y, x in windows(whole.shape, size, model.stride):
                part = probability(model, np.ascontiguousarray(channels[:, y : y + size, x : x + size]))
                reference = whole[y : y + size, x : x + size]
                error = np.abs(part - reference)
                for counts, values in (
                    (pixels, np.ones_like(error)),
                    (differ, error > 1 / 255),
                    (flip, (part >= 0.5) != (reference >= 0.5)),
                ):
                    counts += np.bincount(distance.ravel(), values.ravel(), minlength=len(pixels))
                np.maximum.at(most, distance.ravel(), error.ravel())
        columns = {
            "from_edge": [i * STEP for i in range(len(pixels))],
            "differ": [round(float(d / n), 6) for n, d in zip(pixels, differ, strict=True)],
            "flip": [round(float(f / n), 6) for n, f in zip(pixels, flip, strict=True)],
            "most": [round(float(m), 4) for m in most],
        }
        result["volumes"][f"{Path(path).parent.name}/{Path(path).stem}"] = columns  # type: ignore[index]
        print(path, *(f"{name:9} {values}" for name, values in columns.items()), sep="\n  ", flush=True)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
