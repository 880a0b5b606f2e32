"""What a few annotated windows of a volume are worth: the whole way from a run to weights of its own, with the truth as annotator.

    python benchmarks/few_labels.py DATA                                       # five windows of each volume
    python benchmarks/few_labels.py DATA --volume vnc --n 2 --steps 100
    python benchmarks/few_labels.py DATA --write                               # rows in the table of generalise.py

For each volume: ``mitoscale run`` with weights that have never seen it (``UNSEEN``) and the watershed, ``mitoscale suggest`` for
the windows worth annotating, the truth in place of what an annotator would draw, and ``mitoscale train`` on these windows and a few
phantoms. Then the weights from before and after are scored as ``generalise.py`` does, on the volume without these windows and
without what lies within ``HIDDEN_NM`` before and behind them: the network has seen that beside them, or it is all but the same.
Of ``epfl`` the run and its windows are of the slices that the weights have not learnt from, and its last ones are scored. Of
``hela`` one cell of each slice is annotated: windows that hold little of it are passed over for the next ones suggested.
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
import yaml

from generalise import HERE, RESULT, VOLUMES, known, measure, save, table, write_table
from mitoscale.core.geometry import Region
from mitoscale.core.training_settings import UNLABELLED_VALUE
from mitoscale.nets.device import set_threads
from mitoscale.pipeline.window_pairs import LIST_NAME, numbered_anew
from mitoscale.training.annotated import read_annotated
from mitoscale.training.crop import UNLABELLED

UNSEEN = {
    "epfl": str(HERE / "weights/unet-split.safetensors"),
    "vnc": "unet-varied",
    "fib25_2": "unet-varied",
    "mitoem_r": "unet-small",
    "cardiac": "unet-small",
    "hela": "unet-varied",
}
"""Of each volume, weights that were not trained on it; those of ``epfl`` not on the slices of ``PARTS``."""

PARTS = {"epfl": (104, 165)}
"""Slices of a volume that are run, and windows suggested in; of the others all are."""

LEAST_KNOWN = 0.5
"""Of a window's pixels, the least share whose truth is known: others are not annotated."""

HIDDEN_NM = 40.0


def command(*words: object) -> None:
    """Run ``mitoscale`` as a user does."""
    subprocess.run([sys.executable, "-m", "mitoscale", *map(str, words)], check=True, stdout=sys.stderr)


def part_of(data: Path, name: str, folder: Path) -> tuple[Path, int]:
    """What is run of a volume, and its first slice."""
    volume = VOLUMES[name]
    if name not in PARTS:
        return data / volume.image, 0
    first, stop = PARTS[name]
    path = folder / f"{name}.tif"
    tifffile.imwrite(path, tifffile.imread(data / volume.image)[first:stop], photometric="minisblack")
    return path, first


def annotate(data: Path, name: str, windows: Path, first: int, count: int) -> list[Region]:
    """Put the truth into the first suggested windows that hold enough of it, and list these alone; where each of them lies."""
    volume = VOLUMES[name]
    truth = known(
        data,
        volume,
        read_annotated(
            str(data / volume.image), str(data / volume.truth), volume.spacing, volume.threshold, unlabelled=volume.unlabelled
        ).truth.astype(np.int64),
    )
    for axis in (1, 2):
        if volume.border:
            edges = np.r_[: volume.border, truth.shape[axis] - volume.border : truth.shape[axis]]
            truth[(slice(None),) * axis + (edges,)] = UNLABELLED
    regions: list[Region] = []
    taken: list[str] = []
    for file in sorted(windows.glob("*_labels.tif")):
        found = re.search(r"_z(\d+)_y(\d+)_x(\d+)_labels", file.name)
        assert found is not None
        z, y, x = map(int, found.groups())
        z += first
        labels = tifffile.imread(file).reshape(-1, *tifffile.imread(file).shape[-2:])
        (plane,) = np.flatnonzero((labels != UNLABELLED_VALUE).any((1, 2)))
        region = Region(start=(z, y, x), stop=(z + 1, y + labels.shape[1], x + labels.shape[2]))
        drawn = truth[region.slices][0]
        if (drawn != UNLABELLED).mean() < LEAST_KNOWN or len(taken) == count:
            continue
        labels[plane] = numbered_anew(np.where(drawn == UNLABELLED, UNLABELLED_VALUE, drawn))
        tifffile.imwrite(file, labels, photometric="minisblack")
        regions.append(region)
        taken.append(file.name)
    listed = windows / LIST_NAME
    entries = [entry for entry in yaml.safe_load(listed.read_text(encoding="utf-8")) if entry["truth"] in taken]
    listed.write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
    return regions


def few_labels(data: Path, name: str, count: int, size: int, steps: int, rate: float, threads: int | None) -> list[dict[str, Any]]:
    """Two rows: the weights from before, and those trained on."""
    volume, init = VOLUMES[name], UNSEEN[name]
    with tempfile.TemporaryDirectory() as folder:
        run, windows, out = Path(folder) / "run", Path(folder) / "windows", Path(folder) / "trained.safetensors"
        image, first = part_of(data, name, Path(folder))
        spacing = ",".join(f"{s:g}" for s in volume.spacing)
        command("run", image, run, "--voxel-size", spacing, "--detector", init, "--segmenter", "unet", "--quiet")
        more_than_known = 4 if volume.valid or volume.border else 1
        command("suggest", run, "--n", count * more_than_known, "--size", size, "--out", windows)
        annotated = annotate(data, name, windows, first, count)
        recipe = ("--crop", 256, "--no-mistakes", "--phantoms", 2, "--phantom-share", 0.1, "--patience", 0, "--seed", 80)
        more = ("--steps", steps, "--learning-rate", rate, *(("--threads", threads) if threads else ()))
        command("train", windows / LIST_NAME, "--init", init, *recipe, *more, "--out", out)
        reach = round(HIDDEN_NM / volume.spacing[0])
        hidden = [
            Region(start=(max(0, r.start[0] - reach), *r.start[1:]), stop=(r.stop[0] + reach, *r.stop[1:])) for r in annotated
        ]
        told = f"{len(annotated)} windows"
        called = Path(init).stem
        before = measure(data, name, init, 1, f"{called}, beside {told}", hidden)
        after = measure(data, name, str(out), 1, f"{called}, after {told}", hidden)
        return [before, after | {"seen": f"0:104, {told}" if name in PARTS else told}]


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
