"""Evaluate block by block against whole arrays: time and peak memory as the volume grows, beside scikit-image and stardist.

    python benchmarks/evaluate.py --out benchmarks/results/evaluate.json

A phantom is repeated along z, with errors, and stored as Zarr. Each measurement is a process of its own on one core: ``blocks`` is
``mitoscale evaluate``'s code; ``whole`` reads both arrays and asks scikit-image for variation of information and adapted Rand error
and stardist for matches at IoU 0.5 in the volume (2D and the other nine thresholds are left out, so it does a part of the work).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DEPTH = 64
"""Slices of the phantom."""


def make(folder: Path, repeats: int) -> None:
    """Truth and prediction as Zarr arrays."""
    import zarr

    from mitoscale.ops.phantom import make_phantom

    labels = make_phantom((DEPTH, 512, 512), objects=160, seed=5).labels.astype(np.uint32)
    shape = (DEPTH * repeats, 512, 512)
    arrays = [zarr.create_array(str(folder / n), shape=shape, chunks=(64, 256, 256), dtype="uint32") for n in ("p", "t")]
    for i in range(repeats):
        here = slice(i * DEPTH, (i + 1) * DEPTH)
        truth = np.where(labels > 0, labels + i * 1000, 0)
        found = np.roll(truth, (1, 2), axis=(1, 2))
        found[found % 7 == 1] = 0
        arrays[0][here], arrays[1][here] = found, truth


def peak_gib() -> float:
    """Largest memory of this process so far (Linux; getrusage would count the parent's before exec)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def measure(kind: str, folder: str) -> dict[str, float]:
    """In a process of its own: seconds, peak GiB and the scores both kinds have."""
    import zarr
    from skimage.metrics import adapted_rand_error, variation_of_information
    from stardist.matching import matching

    from mitoscale.evaluation.evaluate import evaluate

    before = peak_gib()
    began = time.monotonic()
    if kind == "blocks":
        scores = evaluate(f"{folder}/p", f"{folder}/t", block=(64, 256, 256))
        found = {"tp50": scores["objects_3d"]["tp50"], "voi": scores["voi_split"] + scores["voi_merge"], "arand": scores["arand"]}
    else:
        prediction, truth = (np.asarray(zarr.open_array(f"{folder}/{n}")[:]) for n in ("p", "t"))
        split, merge = variation_of_information(truth, prediction)
        arand = adapted_rand_error(truth, prediction)[0]
        tp = matching(truth.astype(np.int64), prediction.astype(np.int64), thresh=0.5).tp
        found = {"tp50": int(tp), "voi": float(split + merge), "arand": float(arand)}
    return {"seconds": round(time.monotonic() - began, 2), "extra_gib": round(peak_gib() - before, 3), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--out")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    rows = []
    for repeats in arguments.repeats:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), repeats)
            row: dict[str, object] = {"mvoxel": round(repeats * DEPTH * 512 * 512 / 1e6, 1)}
            for kind in ("blocks", "whole"):
                command = [sys.executable, __file__, "--measure", kind, folder]
                row[kind] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        blocks, whole = row["blocks"], row["whole"]
        assert isinstance(blocks, dict) and isinstance(whole, dict)
        row["time_ratio"] = round(whole["seconds"] / blocks["seconds"], 2)
        row["memory_ratio"] = round(whole["extra_gib"] / blocks["extra_gib"], 2)
        row["largest_difference"] = max(abs(blocks[n] - whole[n]) for n in ("tp50", "voi", "arand"))
        print(json.dumps(row))
        rows.append(row)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
