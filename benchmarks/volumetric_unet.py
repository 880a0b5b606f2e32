"""A small 3D U-Net beside the 2.5D one on isotropic data: the same data, loss and time to learn in.

    python benchmarks/volumetric_unet.py epfl/training.tif epfl/training_groundtruth.tif --net 3d --minutes 15 --threads 1
    python benchmarks/volumetric_unet.py epfl/training.tif epfl/training_groundtruth.tif --net 2.5d --minutes 15 --threads 1

Both learn from scratch on slices 0:104 for so many minutes (of reading, learning and nothing else) and are scored on the tuning
slices 108:124 and the reporting ones 132:165: foreground IoU, and 2D sa50 and msa of the watershed's profiles. The 2.5D network
is the one that ships (five slices in, one out); the 3D one is the like in three dimensions (Çiçek et al. 2016, arXiv
1606.06650), a little narrower, and folds 2 x 2 x 2 voxels into channels as the other folds 2 x 2 pixels. Neither has the recipe
of ``mitoscale train`` (drawn bodies, phantoms, a look at mistakes): crops, flips, quarter turns and changed contrast are all
there is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from fusion import scores
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.device import device_name, set_threads
from mitoscale.nets.unet import PRESETS, UNet
from mitoscale.ops.fusion import Fusion
from mitoscale.training.annotated import read_annotated

NM = (5.0, 5.0, 5.0)
STEPS = (-8, -4, 0, 4, 8)
"""Slices that the 2.5D network sees: 20 and 40 nm away."""
LEARNT, SCORED = slice(0, 104), {"tuning 108:124": slice(108, 124), "132:165": slice(132, 165)}


class VolumeUNet(nn.Module):
    """A 3D U-Net on folded voxels."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 192)) -> None:
        super().__init__()
        channels = (8, *widths)
        self.down = nn.ModuleList(_block(a, b) for a, b in zip(channels[:-1], channels[1:], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.up = nn.ModuleList(_block(2 * a, a) for a in widths[:-1])
        self.head = nn.Conv3d(widths[0], 8, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 1, Z, Y, X) grey values 0..1 to logits of the same shape; each edge a multiple of 16."""
        n, _, z, y, x = image.shape
        shape = (n, z // 2, 2, y // 2, 2, x // 2, 2)
        value = (2 * image - 1).reshape(shape).permute(0, 2, 4, 6, 1, 3, 5).reshape(n, 8, z // 2, y // 2, x // 2)
        skips = []
        for level, block in enumerate(self.down):
            value = block(value if level == 0 else nn.functional.max_pool3d(value, 2))
            skips.append(value)
        for rise, block, skip in zip(reversed(self.rise), reversed(self.up), reversed(skips[:-1]), strict=True):
            value = block(torch.cat([skip, rise(value)], dim=1))
        logits = self.head(value).reshape(n, 2, 2, 2, z // 2, y // 2, x // 2).permute(0, 4, 1, 5, 2, 6, 3)
        return logits.reshape(n, 1, z, y, x)


def _block(a: int, b: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for c in (a, b):
        layers += [nn.Conv3d(c, b, 3, padding=1, bias=False), nn.BatchNorm3d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def crops(image: np.ndarray, truth: np.ndarray, solid: bool, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of 2 x 32 x 128 x 128 voxels, or of 4 slices of 256 x 256; half of them around a mitochondrion."""
    chance = np.random.default_rng(seed)
    depth, edge, count = (32, 128, 2) if solid else (1, 256, 4)
    inside = np.argwhere(truth[::2, ::4, ::4]) * (2, 4, 4)
    while True:
        images, truths = [], []
        for i in range(count):
            middle = inside[chance.integers(len(inside))] if i % 2 else chance.integers(0, image.shape)
            z, y, x = (int(np.clip(m - s // 2, 0, n - s)) for m, s, n in zip(middle, (depth, edge, edge), image.shape, strict=True))
            planes = range(z, z + depth) if solid else np.clip(np.array(STEPS) + z, 0, len(image) - 1)
            grey = image[list(planes), y : y + edge, x : x + edge].astype(np.float32) / 255
            wanted = truth[z : z + depth, y : y + edge, x : x + edge]
            for axis in (0, 1, 2):
                if chance.random() < 0.5:
                    grey, wanted = np.flip(grey, axis), np.flip(wanted, axis)
            turns = int(chance.integers(4))
            grey, wanted = np.rot90(grey, turns, (1, 2)), np.rot90(wanted, turns, (1, 2))
            grey = (grey - 0.5) * chance.uniform(0.75, 1.3) + 0.5 + chance.uniform(-0.1, 0.1)
            images.append(grey + chance.normal(0, 0.02, grey.shape).astype(np.float32))
            truths.append(wanted)
        batch, judged = np.stack(images).astype(np.float32), np.stack(truths).astype(np.float32)
        yield torch.from_numpy(batch[:, None] if solid else batch), torch.from_numpy(judged[:, None] if solid else judged)


def learn(model: nn.Module, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], seconds: float) -> int:
    """Cross-entropy and Dice for so many seconds, the rate falling like a cosine; how many steps that were."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    began, steps = time.monotonic(), 0
    while (gone := (time.monotonic() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (steps + 1) / 30) * 0.5 * (1 + np.cos(np.pi * gone))
        image, truth = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(image).float()
        likely = torch.sigmoid(logits)
        dice = 1 - (2 * (likely * truth).sum() + 1) / (likely.sum() + truth.sum() + 1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, truth) + dice
        optimizer.zero_grad()
        loss.backward()
        # Now and then bfloat16 convolutions in 3D give a gradient that is not finite: such a step is left out.
        if torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), 1.0)):
            optimizer.step()
        steps += 1
        if steps % 50 == 0:
            print(f"step {steps}  loss {loss.item():.3f}  {gone:.0%}", flush=True)
    return steps


@torch.inference_mode()
def probability(model: nn.Module, image: np.ndarray, wanted: slice, solid: bool) -> np.ndarray:
    """(Z, Y, X) float32 of some slices; in 3D of windows of 64 slices of 256 x 256 whose inner parts are kept."""
    with torch.autocast("cpu", torch.bfloat16):
        if not solid:
            found = []
            for z in range(wanted.start, wanted.stop):
                planes = np.clip(np.array(STEPS) + z, 0, len(image) - 1)
                found.append(
                    torch.sigmoid(model(torch.from_numpy(image[planes][None].astype(np.float32) / 255)).float())[0, 0].numpy()
                )
            return np.stack(found)
        total = np.zeros(image[wanted].shape, np.float32)
        depth, edge, margin = 64, 256, 32
        first = min(max(0, (wanted.start + wanted.stop - depth) // 2), len(image) - depth)
        for y in range(0, image.shape[1], edge - 2 * margin):
            for x in range(0, image.shape[2], edge - 2 * margin):
                top, left = min(y, image.shape[1] - edge), min(x, image.shape[2] - edge)
                window = image[first : first + depth, top : top + edge, left : left + edge].astype(np.float32) / 255
                answer = torch.sigmoid(model(torch.from_numpy(window[None, None])).float())[0, 0].numpy()
                a, b = (margin if top else 0), (margin if left else 0)
                part = answer[wanted.start - first : wanted.stop - first, a:, b:]
                total[:, top + a : top + edge, left + b : left + edge] = part
        return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("truth")
    parser.add_argument("--net", choices=["3d", "2.5d"], required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    pair, solid = read_annotated(arguments.volume, arguments.truth, NM, None), arguments.net == "3d"
    image, truth = pair.image, pair.truth > 0
    model: nn.Module = VolumeUNet() if solid else UNet(PRESETS["small"])
    steps = learn(model.train(), crops(image[LEARNT], truth[LEARNT], solid, arguments.seed), 60 * arguments.minutes)
    model.eval()
    fusion = Fusion(detect=DetectSettings(), segment=SegmentSettings(), spacing=NM)
    result: dict[str, Any] = {"net": arguments.net, "parameters": sum(p.numel() for p in model.parameters())}
    result |= {"minutes": arguments.minutes, "steps": steps, "seed": arguments.seed, "machine": device_name()}
    for name, wanted in SCORED.items():
        began = time.perf_counter()
        found = probability(model, image, wanted, solid)
        seconds = time.perf_counter() - began
        instances = np.stack([ndimage.label(plane, np.ones((3, 3)))[0] for plane in truth[wanted]])
        result[name] = {key: round(value, 4) for key, value in scores(fusion.profiles(found).labels, instances, 0).items()}
        result[name]["seconds_per_mvoxel"] = round(seconds / found.size * 1e6, 3)
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
