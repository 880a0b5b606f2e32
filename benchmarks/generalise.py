"""How well the U-Net does on each volume that is at hand, and above all on those that it was not trained on.

    python benchmarks/generalise.py DATA                                      # the embedded weights
    python benchmarks/generalise.py DATA --weights unet-small --weights without-cardiac.safetensors --volume cardiac
    python benchmarks/generalise.py DATA --every 4                            # a quick look: every fourth slice
    python benchmarks/generalise.py DATA --adapt --volume vnc --rounds 0      # first adapted without labels, here without training
    python benchmarks/generalise.py DATA --write                              # the rows in results and benchmarks/README.md

DATA is a folder with the volumes of ``VOLUMES``. Each slice is detected, cut into profiles, linked and rid of small objects as
``--segmenter unet`` does, and compared with the truth: foreground IoU, and 2D sa50 and msa (TP / (TP + FP + FN) at IoU 0.5, and
its mean over 0.5 to 0.95). "SAM alone" is asked for each of the U-Net's profiles, with box and point, and its masks are all there
is; "fused" is what a run does. What SAM has seen is in the result's JSON.
``--adapt`` adapts the weights to each volume from its grey values alone before they are scored; where that is refused, the weights
stay as they are, and so does the row. ``seen`` says what of the volume the weights, or those they started from, were trained on.
The interval holds 95 % of the IoU of 10000 sets of windows (256 x 256 pixels, 80 nm deep) drawn anew. ``--write`` replaces rows
of the same volume and weights, and keeps the others.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mitoscale.core.adapt_settings import AdaptSettings
from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.settings import DetectSettings, RelabelSettings, SegmentSettings
from mitoscale.evaluation.object_metrics import object_scores_2d
from mitoscale.evaluation.truth import open_truth
from mitoscale.nets.checkpoint import load_sam, load_unet
from mitoscale.nets.device import device_name, set_threads
from mitoscale.nets.factories import make_detector, make_segmenter
from mitoscale.nets.predictors import MaskSegmenter
from mitoscale.nets.unet_detector import UNetDetector
from mitoscale.ops.fusion import Fusion
from mitoscale.ops.masks import paint
from mitoscale.ops.prompts import prompts_from_profiles
from mitoscale.training.adapt_job import adapt_job
from mitoscale.training.annotated import read_annotated
from mitoscale.training.crop import UNLABELLED

HERE = Path(__file__).parent
RESULT = HERE / "results" / "generalise.json"
BEGIN, END = "<!-- generalise: written by benchmarks/generalise.py -->", "<!-- end of generalise -->"
WINDOW = 256
DEPTH_NM = 80.0


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume to score on."""

    image: str
    truth: str
    spacing: Spacing
    slices: tuple[int, int] | None = None
    """Those that are scored; None: all."""
    threshold: float | None = None
    border: int = 0
    """Pixels along the edges of each slice that are not annotated, and so not scored."""
    unlabelled: int | None = None
    """Value of the truth that means "not annotated"; that is not scored."""
    valid: str | None = None
    """Volume that is 255 where the truth counts; None: everywhere."""


VOLUMES = {
    "epfl": Volume(image="epfl/training.tif", truth="epfl/training_groundtruth.tif", spacing=(5.0, 5.0, 5.0), slices=(132, 165)),
    "vnc": Volume(image="vnc/raw", truth="vnc/mitochondria", spacing=(50.0, 4.6, 4.6), threshold=127),
    "mitoem_r": Volume(image="mitoem_r/raw.tif", truth="mitoem_r/truth.tif", spacing=(30.0, 8.0, 8.0)),
    "cardiac": Volume(image="cardiac/raw.tif", truth="cardiac/truth.tif", spacing=(1000.0, 5.0, 5.0), border=100),
    "hela": Volume(image="hela/raw.tif", truth="hela/truth.tif", spacing=(1000.0, 10.0, 10.0), valid="hela/valid.tif"),
    "fib25_2": Volume(image="fib25_2/raw.tif", truth=str(HERE / "fib25/fib25_2.tif"), spacing=(10.0, 10.0, 10.0), unlabelled=255),
}
"""By name; the truth of the last one is made by ``annotate_fib25.py``, and without it that volume is left out."""


def adapted(data: Path, name: str, weights: str, folder: Path, rounds: int | None) -> tuple[str, str]:
    """Weights adapted to a volume, and what they are called; the same ones where adapting is refused."""
    volume = VOLUMES[name]
    out = folder / f"{Path(weights).stem}-{name}.safetensors"
    chosen: dict[str, Any] = {} if rounds is None else {"rounds": rounds}
    settings = AdaptSettings(
        volume=str(data / volume.image),
        voxel_size=volume.spacing,
        init=weights,
        out=str(out),
        threads=torch.get_num_threads(),
        **chosen,
    )
    result = adapt_job(settings, lambda event: print(event.get("text") or f"step {event['step']}", file=sys.stderr, flush=True))
    print(json.dumps({"volume": name, **result}), file=sys.stderr, flush=True)
    taken = [stage["stage"] for stage in result["history"] if stage["taken"]][-1]
    called = f"{Path(weights).stem}, {'adapting refused' if result['refused'] else f'adapted ({taken})'}"
    return weights if result["refused"] else str(out), called


def known(data: Path, volume: Volume, truth: np.ndarray) -> np.ndarray:
    """A volume's truth, ``UNLABELLED`` where it does not count."""
    if volume.valid is None:
        return truth
    counts = open_truth(str(data / volume.valid), None).read(Region.of_shape(truth.shape)) == 255
    return np.where(counts, truth, UNLABELLED)


def measure(
    data: Path,
    name: str,
    weights: str,
    every: int,
    called: str | None = None,
    hidden: Sequence[Region] = (),
    sam: str | None = "sam-small",
) -> dict[str, Any]:
    """One row: a volume and weights; what lies in hidden regions is not scored. With a SAM what it finds alone, and fused, too."""
    volume = VOLUMES[name]
    truth_path = str(data / volume.truth)
    pair = read_annotated(str(data / volume.image), truth_path, volume.spacing, volume.threshold, unlabelled=volume.unlabelled)
    annotated = known(data, volume, pair.truth.astype(np.int64))
    for region in hidden:
        annotated[region.slices] = UNLABELLED
    start, stop = volume.slices or (0, pair.depth)
    chosen = range(start, stop, every)
    detect, segment = DetectSettings(detector=weights), SegmentSettings(sam=sam or "sam-small")
    detector = make_detector(detect, volume.spacing)
    assert isinstance(detector, UNetDetector)
    spacing = (volume.spacing[0] * every, *volume.spacing[1:])
    fusion = Fusion(detect=detect, segment=segment, spacing=spacing)
    inside = slice(volume.border, -volume.border or None)
    truth = annotated[list(chosen)][:, inside, inside]

    def scored(planes: np.ndarray, seconds: float) -> dict[str, Any]:
        began = time.monotonic()
        labels = without_small(fusion.link(planes), RelabelSettings().min_volume_nm3 / math.prod(spacing))
        seconds += time.monotonic() - began
        found = np.where(truth == UNLABELLED, 0, labels[:, inside, inside])
        wanted = np.where(truth == UNLABELLED, 0, truth)
        flat = object_scores_2d(found, wanted)
        both, either = windows(found > 0, wanted > 0, max(1, round(DEPTH_NM / volume.spacing[0] / every)))
        low, high = interval(both, either)
        return {
            "iou": round(float(both.sum() / either.sum()), 4),
            "interval": [round(low, 4), round(high, 4)],
            "windows": len(both),
            "sa50_2d": round(flat["sa50"], 4),
            "msa_2d": round(flat["msa"], 4),
            "profiles": int(flat["n_true"]),
            "seconds": round(seconds, 1),
        }

    began = time.monotonic()
    foreground = detector.probability(pair.image, chosen)
    profiles = fusion.profiles(foreground)
    seconds = time.monotonic() - began
    row = {
        "volume": name,
        "weights": called or Path(weights).stem,
        "seen": seen(load_unet(weights)[1].training, name),
        "slices": f"{start}:{stop}" + (f":{every}" if every > 1 else ""),
        **scored(profiles.labels, seconds),
    }
    if sam is None:
        return row
    image = pair.image[list(chosen)]
    segmenter = make_segmenter(segment, volume.spacing)
    assert isinstance(segmenter, MaskSegmenter)
    whole = Region.of_shape(image.shape)
    began = time.monotonic()
    answers = segmenter.masks(image, foreground, [prompts_from_profiles(plane) for plane in profiles.labels], whole)
    alone = np.stack([paint(image.shape[1:], fusion.kept(plane)) for plane in answers])
    asking = time.monotonic() - began
    began = time.monotonic()
    fused = fusion.fuse(foreground, profiles, segmenter.masks(image, foreground, profiles.prompts(), whole)).labels
    fusing = time.monotonic() - began
    card = {"weights": Path(sam).stem, "seen": seen(load_sam(sam)[1].training, name)}
    return row | {"sam": card | scored(alone, seconds + asking), "fused": scored(fused, seconds + fusing)}


def without_small(labels: np.ndarray, least: float) -> np.ndarray:
    """Labels without objects of fewer voxels, as a run drops them; those that the border cuts are kept: they may be larger."""
    kept = np.bincount(labels.ravel()) >= least
    for axis in range(3):
        for end in (0, -1):
            kept[np.unique(labels.take(end, axis=axis))] = True
    kept[0] = False
    return np.where(kept[labels], labels, 0)


def windows(found: np.ndarray, truth: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) pixels in both and in either, of each window that holds any."""
    counts = []
    for z in range(0, len(truth), depth):
        for y in range(0, truth.shape[1], WINDOW):
            for x in range(0, truth.shape[2], WINDOW):
                part = (slice(z, z + depth), slice(y, y + WINDOW), slice(x, x + WINDOW))
                counts.append(((found[part] & truth[part]).sum(), (found[part] | truth[part]).sum()))
    both, either = np.array(counts).T
    return both[either > 0], either[either > 0]


def interval(both: np.ndarray, either: np.ndarray) -> tuple[float, float]:
    """Where 95 % of the IoU of windows drawn anew lie."""
    drawn = np.random.default_rng(0).integers(len(both), size=(10_000, len(both)))
    low, high = np.quantile(both[drawn].sum(1) / either[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def seen(training: dict[str, Any], name: str) -> str:
    """The slices of a volume that weights, or those they started from, were trained on; ``no`` where there are none."""
    found = []
    while training:
        entries = training.get("volumes") or [{**training, "data": {"training.tif": "epfl"}.get(str(training.get("data")))}]
        own = {entry.get("data_sha256") for entry in entries if entry.get("data") == name} - {None}
        same = [entry for entry in entries if entry.get("data") == name or entry.get("data_sha256") in own]  # listed twice
        found += [entry["train_slices"] for entry in same if entry.get("train_slices")]
        before = training.get("init") or training.get("base")
        training = before if isinstance(before, dict) else {}
    return ", ".join(dict.fromkeys(found)) or "no"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| volume | weights | seen | U-Net: IoU | 95 % | 2D sa50 | 2D msa | SAM alone | fused | s, U-Net and fused |",
        "|" + " --- |" * 10,
    ]
    for row in rows:
        low, high = row["interval"]
        alone, fused = (
            " / ".join(f"{row[way][score]:.3f}" for score in ("iou", "sa50_2d", "msa_2d")) if way in row else ""
            for way in ("sam", "fused")
        )
        seconds = f"{row['seconds']:.0f}" + (f", {row['fused']['seconds']:.0f}" if "fused" in row else "")
        lines.append(
            f"| `{row['volume']}` {row['slices']} | `{row['weights']}` | {row['seen']} | {row['iou']:.3f} | {low:.2f}-{high:.2f} "
            f"| {row['sa50_2d']:.3f} | {row['msa_2d']:.3f} | {alone} | {fused} | {seconds} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", action="append", help="name or path; may be given more than once")
    parser.add_argument("--volume", action="append", choices=list(VOLUMES), help="may be given more than once")
    parser.add_argument("--sam", default="sam-small", help="name or path; none: the U-Net alone")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--adapt", action="store_true", help="adapt the weights to each volume first")
    parser.add_argument("--rounds", type=int, help="of adapting")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    sam = None if arguments.sam == "none" else arguments.sam
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        there = [name for name, volume in VOLUMES.items() if (arguments.data / volume.truth).exists()]
        for name in arguments.volume or there:
            for weights in arguments.weights or ["unet-small"]:
                used, called = weights, None
                if arguments.adapt:
                    used, called = adapted(arguments.data, name, weights, Path(folder), arguments.rounds)
                rows.append(measure(arguments.data, name, used, arguments.every, called, sam=sam))
                print(json.dumps(rows[-1]), flush=True)
    print(table(rows))
    if arguments.out:
        save(arguments.out, rows)
    if arguments.write:
        save(RESULT, rows)
        write_table()


def save(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put rows into a result file, in place of those of the same volume and weights."""
    there = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    new = {(row["volume"], row["weights"]) for row in rows}
    kept = [row for row in there if (row["volume"], row["weights"]) not in new]
    ordered = sorted([*kept, *rows], key=lambda row: list(VOLUMES).index(row["volume"]))
    path.write_text(json.dumps({"machine": device_name(), "rows": ordered}, indent=2) + "\n", encoding="utf-8")


def write_table() -> None:
    """Put the table of the committed result into benchmarks/README.md."""
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    page.write_text(f"{text[:before]}\n{table(rows)}\n{text[after:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
