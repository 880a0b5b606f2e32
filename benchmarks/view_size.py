"""``mitoscale view`` of larger and larger runs: seconds until it answers, and memory.

    python benchmarks/view_size.py --objects 1000 100000 1000000 --out benchmarks/results/view_size.json

The runs are those of ``report_size.py``: drawn, with tables as long as real ones, and voxels only in the middle, which is what the
page shows first. The command is started as a user starts it. Seconds count from then on: until it has told its address, until the
page, the lists and the metadata of image and labels have come, and until the detections of a block in the middle have.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from mitoscale.storage.layout import LABELS, RunFolder
from mitoscale.storage.run_json import read_plan

FIRST = ("", "lists", "files/image/zarr.json", f"files/image/labels/{LABELS}/zarr.json", "files/image/0/zarr.json")
"""What the page and neuroglancer ask for when they open."""


def opened(run: str) -> dict[str, float]:
    """Open a run once."""
    plan, began = read_plan(RunFolder(run)), time.perf_counter()
    command = [sys.executable, "-m", "mitoscale", "view", run, "--json", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["viewer"]
        told = time.perf_counter() - began
        for name in FIRST:
            _get(url + name)
        answered = time.perf_counter() - began
        middle = "_".join(str((a + b) // 2 // c) for a, b, c in _axes(plan))
        points = int.from_bytes(_get(f"{url}detections/cells/{middle}")[:8], "little")
        seen = time.perf_counter() - began
        held = psutil.Process(process.pid).memory_info().rss
        process.terminate()
    return {"address_s": told, "page_s": answered, "detections_s": seen, "points": points, "mib": held / 2**20}


def _axes(plan: Any) -> list[tuple[int, int, int]]:
    """Begin, end and block of x, y and z."""
    return list(zip(plan.region.start[::-1], plan.region.stop[::-1], plan.core[::-1], strict=True))


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=300) as answer:
        found: bytes = answer.read()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", metavar="FILE")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    draw = [sys.executable, str(Path(__file__).with_name("report_size.py"))]
    with tempfile.TemporaryDirectory(prefix="view-size-") as scratch:
        for objects in arguments.objects:
            run = str(Path(scratch, f"run{objects}"))
            subprocess.run([*draw, "--objects", str(objects), "--draw", run], check=True)
            rounds = [opened(run) for _ in range(arguments.rounds)]
            terabytes = round(read_plan(RunFolder(run)).region.size / 1e12, 3)
            numbers = {name: round(median(one[name] for one in rounds), 2) for name in rounds[0]}
            results[str(objects)] = {"terabytes": terabytes, **numbers}
            print(objects, results[str(objects)], flush=True)
    results["machine"] = f"{psutil.cpu_count()} CPUs, medians of {arguments.rounds}"
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
