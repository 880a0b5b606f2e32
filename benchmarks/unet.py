"""U-Net inference over blocks beside MONAI's sliding window and the bare forward pass: the same network, windows, precision.

    python benchmarks/unet.py --core 256 --slices 2 --threads 1 --out benchmarks/results/unet.json      # on a CPU
    python benchmarks/unet.py --core 512 --slices 64 --out unet-gpu.json                                # on a GPU

Two by two blocks with their margins are what MONAI calls four windows with an overlap of two margins. From grey values to a uint8
probability each way, all three one after another in each round. Ratios are medians over the rounds: above 1 this project is
faster. On a CPU processor seconds are compared, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference

from mitoscale.core.geometry import Region
from mitoscale.core.grid import BlockGrid
from mitoscale.nets.checkpoint import load_unet
from mitoscale.nets.device import autocast, device, device_name, set_threads
from mitoscale.nets.device_work import batch_pixels
from mitoscale.nets.margin import margin_pixels
from mitoscale.nets.unet import folded_normalisation
from mitoscale.nets.unet_detector import UNetDetector

THICK = (20.0, 5.0, 5.0)
"""Voxel size in nm: slices that are not averaged, at the network's own pixels."""


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds, and processor seconds, until the device is done."""
    began, processor = time.perf_counter(), time.process_time()
    work()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="unet-small")
    parser.add_argument("--core", type=int, default=256, help="edge of a block in y and x")
    parser.add_argument("--slices", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    model, card = load_unet(arguments.detector)
    assert card.pixel_nm is not None
    where = device()
    model = model.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    margin = margin_pixels(model.stride)
    edge, window = 2 * arguments.core, arguments.core + 2 * margin
    context = max(abs(round(nm / THICK[0])) for nm in model.config.context_nm)
    shape = (arguments.slices + 2 * context, edge + 2 * margin, edge + 2 * margin)
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    whole = Region.of_shape(shape)
    inner = Region(start=(context, margin, margin), stop=(context + arguments.slices, margin + edge, margin + edge))
    quick = folded_normalisation(model).to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    detector = UNetDetector(quick, pixel_nm=card.pixel_nm, spacing=THICK)
    batch = max(1, batch_pixels(where) * model.config.fold**2 // window**2)
    core_shape = (arguments.slices, arguments.core, arguments.core)
    grid = BlockGrid(region=Region.of_shape(inner.shape), core_shape=core_shape, margin=(0, 0, 0))
    cores = [block.core.shifted(inner.start) for block in grid.blocks()]
    reads = [core.expanded((context, margin, margin), within=whole) for core in cores]
    steps = [round(nm / THICK[0]) for nm in model.config.context_nm]

    def channels(part: np.ndarray) -> torch.Tensor:
        """(N, C, H, W) float 0..1 on the device, as anyone would make it."""
        stack = np.stack([part[[z + s for s in steps]] for z in range(context, context + arguments.slices)])
        return (torch.from_numpy(stack).float() / 255).to(where)

    def ours() -> np.ndarray:
        found = np.empty(inner.shape, np.uint8)
        for core, read in zip(cores, reads, strict=True):
            found[core.within(inner)] = detector.core_foreground(image[read.slices], read, core).foreground
        return found

    def monai() -> np.ndarray:
        with torch.inference_mode(), autocast(where):
            logits = sliding_window_inference(
                channels(image).contiguous(memory_format=torch.channels_last),
                roi_size=(window, window),
                sw_batch_size=batch,
                predictor=model,
                overlap=2 * margin / window,
                mode="constant",
            )
            assert isinstance(logits, torch.Tensor)
            found = (logits[:, 0, margin:-margin, margin:-margin].float().sigmoid() * 255).round().to(torch.uint8)
        return found.cpu().numpy()

    ready = [channels(image[read.slices]).contiguous(memory_format=torch.channels_last) for read in reads]

    def bare() -> None:
        with torch.inference_mode(), autocast(where):
            for inputs in ready:
                for first in range(0, len(inputs), batch):
                    model(inputs[first : first + batch])

    ways: dict[str, Callable[[], object]] = {"ours": ours, "monai": monai, "bare": bare}
    difference = np.abs(ours().astype(int) - monai().astype(int))  # warm, too; MONAI blends where ours cuts at the core
    bare()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(arguments.rounds):
        order = list(ways)[number % 3 :] + list(ways)[: number % 3]
        for name in order:
            times[name].append(timed(ways[name]))
    which = 0 if where.type == "cuda" else 1
    ratio = {
        name: round(median(t[which] / o[which] for t, o in zip(times[name], times["ours"], strict=True)), 3)
        for name in ("monai", "bare")
    }
    pixels = len(cores) * arguments.slices * window**2
    result = {
        "claim": "seconds of MONAI's sliding window, and of the bare forward pass, over this project's; above 1 it is faster",
        "ratio": ratio,
        "network_pixels": pixels,
        "network_pixels_per_core_pixel": round(pixels / inner.size, 3),
        "window": window,
        "overlap": 2 * margin,
        "batch": batch,
        "measured_in": ("wall", "processor")[which] + " seconds",
        "median_seconds": {name: round(median(t[which] for t in ts), 3) for name, ts in times.items()},
        "wall_seconds": {name: [round(t[0], 3) for t in ts] for name, ts in times.items()},
        "pixels_that_differ_by_more_than_1": round(float((difference > 1).mean()), 4),
        "machine": device_name(),
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
