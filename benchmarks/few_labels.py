"""What a few annotated windows of a volume are worth: the whole way from a run to weights of its own, with the truth as annotator.

    python benchmarks/few_labels.py DATA                                       # five windows of each volume
    python benchmarks/few_labels.py DATA --volume vnc --n 2 --steps 100
    python benchmarks/few_labels.py DATA --write                               # rows in the table of generalise.py

For each volume: ``mitoscale run`` with weights that have never seen it (``UNSEEN``) and the watershed, ``mitoscale suggest`` for
the windows worth annotating, the truth in place of what an annotator would draw, and ``mitoscale train`` on these windows and a few
phantoms. Then the weights from before and after are scored as ``generalise.py`` does, on the volume without these windows and
without what lies within ``HIDDEN_NM`` before and behind them: the network has seen that beside them, or it is all but the same.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from generalise import RESULT, VOLUMES, measure, save, table, write_table
from mitoscale.core.geometry import Region
from mitoscale.core.training_settings import UNLABELLED_VALUE
from mitoscale.nets.device import set_threads
from mitoscale.pipeline.window_pairs import numbered_anew
from mitoscale.training.annotated import read_annotated
from mitoscale.training.crop import UNLABELLED

UNSEEN = {"vnc": "unet-varied", "fib25_2": "unet-varied", "mitoem_r": "unet-small", "cardiac": "unet-small"}
"""Of each volume, embedded weights that were not trained on it."""

HIDDEN_NM = 40.0


def command(*words: object) -> None:
    """Run ``mitoscale`` as a user does."""
    subprocess.run([sys.executable, "-m", "mitoscale", *map(str, words)], check=True, stdout=sys.stderr)


def annotate(data: Path, name: str, windows: Path) -> list[Region]:
    """Put the truth into the suggested windows; where each of them lies."""
    volume = VOLUMES[name]
    truth = read_annotated(
        str(data / volume.image), str(data / volume.truth), volume.spacing, volume.threshold, unlabelled=volume.unlabelled
    ).truth.astype(np.int64)
    for axis in (1, 2):
        if volume.border:
            edges = np.r_[: volume.border, truth.shape[axis] - volume.border : truth.shape[axis]]
            truth[(slice(None),) * axis + (edges,)] = UNLABELLED
    regions = []
    for file in sorted(windows.glob("*_labels.tif")):
        found = re.search(r"_z(\d+)_y(\d+)_x(\d+)_labels", file.name)
        assert found is not None
        z, y, x = map(int, found.groups())
        labels = tifffile.imread(file).reshape(-1, *tifffile.imread(file).shape[-2:])
        (plane,) = np.flatnonzero((labels != UNLABELLED_VALUE).any((1, 2)))
        region = Region(start=(z, y, x), stop=(z + 1, y + labels.shape[1], x + labels.shape[2]))
        drawn = truth[region.slices][0]
        labels[plane] = numbered_anew(np.where(drawn == UNLABELLED, UNLABELLED_VALUE, drawn))
        tifffile.imwrite(file, labels, photometric="minisblack")
        regions.append(region)
    return regions


def few_labels(data: Path, name: str, count: int, size: int, steps: int, rate: float, threads: int | None) -> list[dict[str, Any]]:
    """Two rows: the weights from before, and those trained on."""
    volume, init = VOLUMES[name], UNSEEN[name]
    with tempfile.TemporaryDirectory() as folder:
        run, windows, out = Path(folder) / "run", Path(folder) / "windows", Path(folder) / f"{init}.safetensors"
        spacing = ",".join(f"{s:g}" for s in volume.spacing)
        command("run", data / volume.image, run, "--voxel-size", spacing, "--detector", init, "--segmenter", "unet", "--quiet")
        command("suggest", run, "--n", count, "--size", size, "--out", windows)
        annotated = annotate(data, name, windows)
        recipe = ("--crop", 256, "--no-mistakes", "--phantoms", 2, "--phantom-share", 0.1, "--patience", 0, "--seed", 80)
        more = ("--steps", steps, "--learning-rate", rate, *(("--threads", threads) if threads else ()))
        command("train", windows / "volumes.yaml", "--init", init, *recipe, *more, "--out", out)
        reach = round(HIDDEN_NM / volume.spacing[0])
        hidden = [
            Region(start=(max(0, r.start[0] - reach), *r.start[1:]), stop=(r.stop[0] + reach, *r.stop[1:])) for r in annotated
        ]
        told = f"{len(annotated)} windows"
        before = measure(data, name, init, 1, f"{init}, beside {told}", hidden)
        after = measure(data, name, str(out), 1, f"{init}, after {told}", hidden)
        return [before, after | {"seen": told}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--volume", action="append", choices=list(UNSEEN), help="may be given more than once")
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    rows: list[dict[str, Any]] = []
    for name in arguments.volume or [n for n in UNSEEN if (arguments.data / VOLUMES[n].truth).exists()]:
        rate = arguments.learning_rate
        for row in few_labels(arguments.data, name, arguments.n, arguments.size, arguments.steps, rate, arguments.threads):
            rows.append(row)
            print(json.dumps(row), flush=True)
        if arguments.out:
            save(arguments.out, rows)
        if arguments.write:
            save(RESULT, rows)
            write_table()
    print(table(rows))


if __name__ == "__main__":
    main()
