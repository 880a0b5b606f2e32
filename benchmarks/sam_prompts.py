"""How good SAM's masks are by themselves: prompted from truth, without gate and fallback.

For each 2D profile of the truth of at least 150 pixels in the chosen slices, a window of the network's size is cut around
it and SAM is asked with the profile's exact box, and with its innermost point. The mean IoU over profiles (each cut at the
window's border) is printed as JSON.

    python benchmarks/sam_prompts.py volume.tif truth.tif --voxel-size 5 --slices 132:165
"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np
import torch
from scipy import ndimage

from mitoscale.nets.checkpoint import load_sam
from mitoscale.nets.device import autocast, device
from mitoscale.nets.sam import Sam
from mitoscale.ops.instances import instances
from mitoscale.training.annotated import read_annotated
from mitoscale.training.prompts import simulate

LEAST = 150
"""Pixels of the smallest profile that counts."""


def profile_windows(image: np.ndarray, profiles: np.ndarray, size: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each profile of a slice the window around it and its mask there."""
    windows, masks = [], []
    for label, box in enumerate(ndimage.find_objects(profiles), start=1):
        if box is None or (profiles[box] == label).sum() < LEAST:
            continue
        place = tuple(
            slice(s := min(max((b.start + b.stop - size) // 2, 0), n - size), s + size)
            for b, n in zip(box, profiles.shape, strict=True)
        )
        mask = profiles[place] == label
        if mask.sum() >= LEAST:
            windows.append(image[place].astype(np.float32))
            masks.append(mask)
    return windows, masks


def answer(model: Sam, embeddings: torch.Tensor, masks: list[np.ndarray], kind: str) -> list[float]:
    """IoU of SAM's answer for each window: the single mask for a box, the best-scored of three for a point."""
    rng = np.random.default_rng(0)
    prompts = [simulate(mask.astype(np.uint32), 1, rng, kind=kind) for mask in masks]
    points = torch.from_numpy(np.concatenate([p.points for p in prompts if p is not None])).to(device())
    meaning = torch.from_numpy(np.concatenate([p.meaning for p in prompts if p is not None])).to(device())
    with torch.inference_mode(), autocast(device()):
        logits, predicted = model.decode(embeddings, torch.arange(len(masks), device=device()), points, meaning)
    chosen = torch.zeros(len(masks), dtype=torch.long) if kind == "box" else predicted[:, 1:].float().argmax(1).cpu() + 1
    best = logits[torch.arange(len(masks)), chosen.to(logits.device)].float()
    full = (
        torch.nn.functional.interpolate(best[:, None], masks[0].shape, mode="bilinear", align_corners=False)[:, 0].cpu().numpy() > 0
    )
    return [float((f & m).sum() / (f | m).sum()) for f, m in zip(full, masks, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("truth")
    parser.add_argument("--voxel-size", type=float, default=5.0, help="nm, isotropic")
    parser.add_argument("--slices", default="132:165")
    parser.add_argument("--sam", default="sam-small")
    arguments = parser.parse_args()
    start, stop = map(int, arguments.slices.split(":"))
    pair = read_annotated(arguments.volume, arguments.truth, (arguments.voxel_size,) * 3)
    model, card = load_sam(arguments.sam)
    model.to(device())
    ious: dict[str, list[float]] = {"box": [], "point": []}
    for z in range(start, stop):
        windows, masks = profile_windows(pair.image[z], instances(pair.truth[z]).astype(np.int32), model.config.image_size)
        if not windows:
            continue
        with torch.inference_mode(), autocast(device()):
            embeddings = model.encode(torch.from_numpy(np.stack(windows)).to(device()))
        for kind, values in ious.items():
            values.extend(answer(model, embeddings, masks, kind))
    result = {
        "sam": os.path.basename(arguments.sam),
        "pixel_nm": card.pixel_nm,
        "slices": arguments.slices,
        "profiles": len(ious["box"]),
        "box_iou": round(float(np.mean(ious["box"])), 4),
        "point_iou": round(float(np.mean(ious["point"])), 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
