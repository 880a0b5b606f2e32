"""What fine-tuning SAM's mask decoder gains: Dice and IoU of points and of boxes, before and after, as the command prints them.

    python benchmarks/finetuning.py training.tif training_groundtruth.tif --sam BASE.safetensors --weights tuned.safetensors \
        --slices 0:104 --tune 108:124 --test 132:165 --out benchmarks/results/finetune-epfl.json [finetune options]

What follows the named options goes to ``mitoscale finetune``. The figures are those in the header of the weights it wrote.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mitoscale.nets.checkpoint import load_sam


def result_of(weights: str, options: list[str], seconds: float) -> dict[str, Any]:
    """The figures in the header of tuned weights."""
    card = load_sam(weights)[1]
    training = card.training
    scores = {
        name: {which: {k: round(v, 4) for k, v in values.items()} for which, values in both.items()}
        for name, both in training["scores"].items()
    }
    held = scores.get("test", scores.get("tune", {}))
    return {
        "claim": "Dice and IoU of truth points and jittered boxes, before and after fine-tuning the mask decoder",
        "data": training["data"],
        "preset": training["preset"],
        "options": options,
        "slices": {name: training.get(f"{name}_slices", "") for name in ("train", "tuning", "test")},
        "base": {k: v for k, v in training["base"].items() if k in ("weights", "data", "steps", "train_slices", "phantoms")},
        "patches": training["patches"],
        "patches_with_mitochondria": training["patches_with_mitochondria"],
        "epochs": training["epochs"],
        "training_seconds": training["seconds"],
        "command_seconds": round(seconds),
        "point_iou_gain": round(held["tuned"]["point_iou"] - held["base"]["point_iou"], 4),
        "box_iou_gain": round(held["tuned"]["box_iou"] - held["base"]["box_iou"], 4),
        "scores": scores,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("truth")
    parser.add_argument("--weights", required=True, help="weights file to write")
    parser.add_argument("--out", help="JSON file to write")
    arguments, more = parser.parse_known_args()
    command = [sys.executable, "-m", "mitoscale", "finetune", arguments.volume, arguments.truth, "--out", arguments.weights]
    began = time.monotonic()
    subprocess.run([*command, "--accept-any", *more], check=True)
    result = result_of(arguments.weights, [Path(m).name if "/" in m else m for m in more], time.monotonic() - began)
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
