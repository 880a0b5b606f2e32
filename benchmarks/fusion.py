"""What SAM adds to the U-Net, and what it costs: fused masks beside the U-Net's alone, slice by slice, over several volumes.

    python benchmarks/fusion.py DATA                           # a few slices of each of VOLUMES
    python benchmarks/fusion.py DATA --only vnc --set gate_nm=60 --set min_score=0.4      # other settings of the fusion
    python benchmarks/fusion.py DATA --only epfl --slices 134,140,146,152,158,163         # other slices, with a cache of their own

DATA is a folder with the volumes of ``VOLUMES``. Each is detected with what a run takes there by itself. Foregrounds are kept in
``--cache`` and used again, so that settings of the fusion can be tried for little. Scores are of slices (2D); linking and stitching
have no part in them. Of ``cardiac`` 100 pixels along the border are left out, where its truth is not complete. Prints a table, and
writes ``--out``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.evaluation.foreground_metrics import foreground_scores
from mitoscale.evaluation.grey_volume import open_grey
from mitoscale.evaluation.object_metrics import object_scores_2d
from mitoscale.evaluation.truth import open_truth
from mitoscale.nets.device import set_threads
from mitoscale.nets.factories import make_detector, make_segmenter, weights_digest
from mitoscale.nets.predictors import Counting, MaskSegmenter
from mitoscale.ops.fusion import Fusion


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Slices with a truth."""

    image: str
    truth: str
    spacing: Spacing
    slices: tuple[int, ...]
    border: int = 0
    """Pixels left out along the border."""
    threshold: float | None = None
    """The truth is above this."""
    detector: str = "unet-varied"
    """What a run takes there."""
    unlabelled: int | None = None
    """Value of the truth that means "not annotated"; that is not scored."""


VOLUMES = {
    "epfl": Volume(
        image="epfl/training.tif",
        truth="epfl/training_groundtruth.tif",
        spacing=(5, 5, 5),
        slices=(108, 112, 117, 122),
        detector="unet-small",
    ),
    "mitoem_r": Volume(image="mitoem_r/raw.tif", truth="mitoem_r/truth.tif", spacing=(30, 8, 8), slices=(2, 6, 10, 14)),
    "vnc": Volume(image="vnc/raw", truth="vnc/mitochondria", spacing=(50, 4.6, 4.6), slices=(1, 6, 11, 16), threshold=127),
    "cardiac": Volume(image="cardiac/raw.tif", truth="cardiac/truth.tif", spacing=(1000, 5, 5), slices=(0, 1, 2), border=100),
    "fib25_2": Volume(
        image="fib25_2/raw.tif",
        truth=str(Path(__file__).parent / "fib25/fib25_2.tif"),
        spacing=(10, 10, 10),
        slices=(25, 75, 125, 175, 225),
        unlabelled=255,
    ),
}
"""Those of ``epfl`` are none that weights were trained or scored on; the truth of ``fib25_2`` is made by ``annotate_fib25.py``, and
without it that volume is left out."""


def foreground_of(volume: Volume, data: Path, detect: DetectSettings, file: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """(Z, Y, X) uint8 slices, their (Z, Y, X) float32 foreground, and the seconds that took when it was made."""
    if not file.exists():
        grey = open_grey(str(data / volume.image), volume.spacing, invert=False)
        detector, margin = make_detector(detect, grey.spacing), int(np.ceil(detect.margin_nm[0] / volume.spacing[0]))
        whole, images, found, seconds = Region.of_shape(grey.source.shape), [], [], 0.0
        for z in volume.slices:
            plane = Region(start=(z, 0, 0), stop=(z + 1, *grey.source.shape[1:]))
            read = plane.expanded((margin, 0, 0), within=whole)
            image, began = grey.read(read), time.perf_counter()
            found.append(detector.foreground(image, read)[plane.within(read)][0])
            seconds += (time.perf_counter() - began) / len(image)
            images.append(image[plane.within(read)][0])
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, image=np.stack(images), foreground=np.rint(np.stack(found) * 255).astype(np.uint8), seconds=seconds)
    kept = np.load(file)
    return kept["image"], kept["foreground"] / np.float32(255), float(kept["seconds"])


def truth_of(volume: Volume, data: Path) -> np.ndarray:
    """(Z, Y, X) instances of the slices; of a two-valued truth the connected parts; -1 where nobody has annotated."""
    labels = open_truth(str(data / volume.truth), volume.threshold)
    _, height, width = labels.shape
    planes = [labels.read(Region(start=(z, 0, 0), stop=(z + 1, height, width)))[0] for z in volume.slices]
    if volume.threshold is not None:
        planes = [plane > volume.threshold for plane in planes]
    truth = np.stack(planes).astype(np.int64)
    unknown = truth == volume.unlabelled if volume.unlabelled is not None else np.zeros(truth.shape, bool)
    if len(np.unique(truth[~unknown])) <= 2:
        truth = np.stack([ndimage.label(plane, np.ones((3, 3)))[0] for plane in np.where(unknown, 0, truth)])
    return np.where(unknown, -1, truth)


def scores(labels: np.ndarray, truth: np.ndarray, border: int) -> dict[str, float]:
    """Foreground IoU and 2D object scores."""
    inside = slice(border, -border or None)
    labels, truth = np.where(truth < 0, 0, labels), np.maximum(truth, 0)
    # Numbers mean nothing across slices: each slice gets its own.
    found, wanted = (np.where(a > 0, a + (np.arange(len(a)) * 2**20)[:, None, None], 0)[:, inside, inside] for a in (labels, truth))
    objects, foreground = object_scores_2d(found, wanted), foreground_scores(found, wanted)
    return {"iou": foreground["iou"], "sa50_2d": objects["sa50"], "msa_2d": objects["msa"]}


def measure(name: str, volume: Volume, data: Path, cache: Path, detector: str, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """A row each for the U-Net alone and for the fusion."""
    detect = DetectSettings(detector=detector)
    file = cache / (weights_digest(detector)[:12] or detector) / f"{name}.npz"
    image, foreground, unet_seconds = foreground_of(volume, data, detect, file)
    truth, segment = truth_of(volume, data), SegmentSettings.model_validate(changes)
    fusion = Fusion(detect=detect, segment=segment, spacing=volume.spacing)
    began = time.perf_counter()
    found = fusion.profiles(foreground)
    watershed = time.perf_counter() - began
    segmenter = make_segmenter(segment, volume.spacing)
    assert isinstance(segmenter, MaskSegmenter)
    began = time.perf_counter()
    masks = segmenter.masks(image, foreground, found.prompts(), Region.of_shape(image.shape))
    fused = fusion.fuse(foreground, found, masks)
    seconds = time.perf_counter() - began
    counts = segmenter.counts if isinstance(segmenter, Counting) else {}
    alone = {"volume": name, "method": "U-Net", **scores(found.labels, truth, volume.border), "seconds": unet_seconds + watershed}
    both = {"volume": name, "method": "fused", **scores(fused.labels, truth, volume.border)}
    both |= {"seconds": unet_seconds + watershed + seconds, "asked": sum(found.asked), "profiles": found.possible}
    both["changed"] = float(fused.changed.sum() / max((fused.labels > 0).sum(), 1))
    both["network_pixels_per_pixel"] = counts.get("network_pixels", 0.0) / image.size
    return [alone, both]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", choices=list(VOLUMES))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of SegmentSettings")
    parser.add_argument("--detector", help="name or path of a U-Net's weights, in place of each volume's own")
    parser.add_argument("--slices", help="of the one volume that --only names")
    parser.add_argument("--cache", type=Path, default=Path("fusion-cache"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    changes = dict(text.split("=", 1) for text in arguments.set)
    rows: list[dict[str, Any]] = []
    there = [name for name, volume in VOLUMES.items() if (arguments.data / volume.truth).exists()]
    for name in arguments.only or there:
        volume, cache = VOLUMES[name], arguments.cache
        if arguments.slices:
            volume = replace(volume, slices=tuple(map(int, arguments.slices.split(","))))
            cache = cache / arguments.slices
        for row in measure(name, volume, arguments.data, cache, arguments.detector or volume.detector, changes):
            rows.append(row)
            print("  ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{v}" for k, v in row.items()), flush=True)
    if arguments.out:
        arguments.out.write_text(
            json.dumps({"settings": changes, "slices": arguments.slices or "default", "rows": rows}, indent=2) + "\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
