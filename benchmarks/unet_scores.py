"""How well a U-Net finds foreground by itself: IoU and accuracy at the volume's pixels, beside a guess of all background.

    python benchmarks/unet_scores.py training.tif training_groundtruth.tif --voxel-size 5,5,5 --slices 132:165 \
        --detector report.safetensors --out benchmarks/results/unet-report-epfl.json

``--passes one`` is each slice by itself, ``mirror`` the mean with the slice turned round, ``run`` what a run does by default.
Weights of ``mitoscale train --preset report`` are scored a second time at the 128 x 128 pixels at which the report scored.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.evaluation.foreground_metrics import foreground_scores
from mitoscale.nets.checkpoint import load_unet
from mitoscale.nets.device import device, device_name, set_threads
from mitoscale.nets.unet_detector import UNetDetector
from mitoscale.training.annotated import read_annotated
from mitoscale.training.origin_report_unet import ReportTask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("truth")
    parser.add_argument("--detector", default="unet-small")
    parser.add_argument("--voxel-size", required=True)
    parser.add_argument("--slices", required=True)
    parser.add_argument("--truth-threshold", type=float)
    parser.add_argument("--passes", choices=["one", "mirror", "run"], default="one", help="how a slice is seen; see above")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    z, y, x = map(float, arguments.voxel_size.split(","))
    start, stop = map(int, arguments.slices.split(":"))
    pair = read_annotated(arguments.volume, arguments.truth, (z, y, x), arguments.truth_threshold)
    model, card = load_unet(arguments.detector)
    assert card.pixel_nm is not None
    detector = UNetDetector(model.to(device()), pixel_nm=card.pixel_nm, spacing=pair.spacing, mirror=arguments.passes == "mirror")
    if arguments.passes == "run":
        whole = Region.of_shape(pair.image.shape)
        core = Region(start=(start, 0, 0), stop=(stop, *pair.image.shape[1:]))
        found = detector.core_foreground(pair.image, whole, core).foreground >= 128
    else:
        found = detector.probability(pair.image, range(start, stop)) >= 0.5
    truth = pair.truth[start:stop] > 0
    scores = foreground_scores(found, truth)
    result = {
        "detector": Path(arguments.detector).name,
        "preset": card.training.get("preset"),
        "trained_on": card.training.get("data"),
        "train_slices": card.training.get("train_slices"),
        "train_seconds": card.training.get("seconds"),
        "passes": arguments.passes,
        "data": Path(arguments.volume).name,
        "slices": arguments.slices,
        "foreground": {name: round(value, 4) for name, value in scores.items()},
        "accuracy_of_all_background": round(float(1 - np.mean(truth)), 4),
        "machine": device_name(),
    }
    if card.training.get("preset") == "report":
        part = pair.part((start, stop), 1.0)
        small = ReportTask(model, part, part).score(model)
        result["at_128_pixels"] = {name: round(value, 4) for name, value in small.items()}
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
