"""SAM in every slice of isotropic volumes, beside SAM every few slices with its masks interpolated between (``--sam-step``).

    python benchmarks/sam_step.py DATA
    python benchmarks/sam_step.py DATA --only fib25_2 --step 0 --step 30

DATA is a folder with the volumes. Each is detected once, by the network named in the row, and fused with each step; the first row
of a volume is the U-Net alone. Each step has a second row in which the slices between stay as the U-Net has them: what
interpolation adds is the difference. Scores are of the whole stack: slices (2D) and linked objects (3D). Seconds are of profiles,
SAM and fusion. Foregrounds are kept in ``--cache`` and used again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from fusion import VOLUMES, foreground_of, scores, truth_of
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.evaluation.object_metrics import object_scores_3d
from mitoscale.nets.device import set_threads
from mitoscale.nets.factories import make_segmenter, weights_digest
from mitoscale.nets.predictors import Counting, MaskSegmenter
from mitoscale.ops.fusion import Fusion

HERE = Path(__file__).parent

STACKS = {
    "fib25_2": replace(VOLUMES["fib25_2"], slices=tuple(range(250))),
    "epfl": replace(VOLUMES["epfl"], slices=tuple(range(132, 165)), detector=str(HERE / "weights/unet-split.safetensors")),
}
"""Isotropic volumes with a truth; neither network has learnt from what is scored of them."""


def measure(name: str, data: Path, cache: Path, sam: str, steps: list[float]) -> list[dict[str, Any]]:
    """A row for the U-Net alone, and two for each step."""
    volume = STACKS[name]
    detect = DetectSettings(detector=volume.detector)
    image, foreground, _ = foreground_of(volume, data, detect, cache / weights_digest(volume.detector)[:12] / f"{name}.npz")
    truth, whole = truth_of(volume, data), Region.of_shape(image.shape)
    rows: list[dict[str, Any]] = []
    solid = ndimage.label(truth > 0, np.ones((3, 3, 3)))[0]

    def add(labels: np.ndarray, **of: Any) -> None:
        linked = object_scores_3d(np.where(truth >= 0, fusion.link(labels), 0), solid)
        scored = scores(labels, truth, 0) | {"f1_50_3d": linked["f1_50"], "msa_3d": linked["msa"]}
        rows.append({"volume": name, "detector": Path(volume.detector).stem, **of, **scored})
        print("  ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), flush=True)

    for step in steps:
        fusion = Fusion(detect=detect, segment=SegmentSettings(sam=sam, sam_step_nm=step), spacing=volume.spacing)
        began = time.perf_counter()
        found = fusion.profiles(foreground, ask_in=fusion.ask_in(whole, whole, len(image)))
        if not rows:
            add(found.labels, way="U-Net", seconds=time.perf_counter() - began)
        segmenter = make_segmenter(fusion.segment, volume.spacing)
        assert isinstance(segmenter, MaskSegmenter) and isinstance(segmenter, Counting)
        labels = fusion.fuse(foreground, found, segmenter.masks(image, foreground, found.prompts(), whole)).labels
        cost = {
            "sam_step_nm": step,
            "prompts": sum(found.questions),
            "answers": sum(found.asked),
            "network_pixels_per_voxel": segmenter.counts["network_pixels"] / image.size,
            "seconds": time.perf_counter() - began,
        }
        add(labels, way="fused", **cost)
        if found.between:
            between = np.array(sorted(found.between))
            labels[between] = found.labels[between]
            add(labels, way="fused, nothing between", sam_step_nm=step)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", choices=list(STACKS))
    parser.add_argument("--step", action="append", type=float, help="nm; may be given more than once")
    parser.add_argument("--sam", default="sam-small", help="name or path")
    parser.add_argument("--cache", type=Path, default=Path("fusion-cache"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    rows = []
    for name in arguments.only or STACKS:
        rows += measure(name, arguments.data, arguments.cache, arguments.sam, arguments.step or [0, 10, 20, 30, 40, 60, 80])
    if arguments.out:
        arguments.out.write_text(json.dumps({"sam": arguments.sam, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
