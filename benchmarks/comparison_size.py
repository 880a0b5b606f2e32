"""Two runs with many objects set side by side (``mitoscale report RUN --against OTHER``): seconds, memory and bytes.

    python benchmarks/comparison_size.py --objects 1000 100000 --out comparison_size.json

The runs are drawn as in ``report_size.py``, but with their labels everywhere, and the balls closer together, so that 10^5 of them
need few voxels: what follows the objects is told apart from what follows the voxels, which is a rate. In the other run labels are
numbered otherwise, one object in twenty is gone, and one in twenty is one with its neighbour.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.report.build import Report
from mitoscale.report.run_comparison import write_run_comparison
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.run_json import read_plan, write_plan
from mitoscale.storage.tables import read_table, write_table
from report_size import Lattice, drawn

LATTICE = Lattice(pitch=20, radius=8)


def changed(run: str, other: str) -> None:
    """Make the other run: a copy whose labels differ."""
    shutil.copytree(run, other, copy_function=os.link)  # what is written anew replaces its file
    folder = RunFolder(other)
    old = read_plan(RunFolder(run))
    plan = old.model_copy(update={"run": other, "image": f"{folder.volume}/0", "labels": folder.labels})
    write_plan(folder, plan)
    table = read_table(folder.objects)
    count = len(table["label"])
    ids = np.arange(count + 1, dtype=np.uint32)
    ids[5::20] = ids[4::20][: len(ids[5::20])]  # one with its neighbour
    kept = np.random.default_rng(7).permutation(count).astype(np.uint32) + 1
    names = np.concatenate([[0], kept]).astype(np.uint32)[ids]
    names[10::20] = 0
    array = open_array(f"{plan.labels}/0")
    for block in plan.grid.blocks():
        array.write(block.core, names[array.read(block.core)])
    whole = (ids[1:] == np.arange(1, count + 1)) & (names[1:] > 0)
    rows = {name: values[whole] for name, values in table.items()}
    rows["label"] = names[1:][whole].astype(rows["label"].dtype)
    order = np.argsort(rows["label"])
    write_table(folder.objects, {name: values[order] for name, values in rows.items()})


def measured(run: str, other: str) -> dict[str, Any]:
    """Compare them here."""
    here, there = read_plan(RunFolder(run)), read_plan(RunFolder(other))
    wall, cpu, counted = time.perf_counter(), time.process_time(), 0.0

    def observer(done: int, total: int) -> None:
        nonlocal counted
        counted = time.perf_counter() - wall

    done = write_run_comparison(Report(plan=here, grey=read_grey(here)), there, observer=observer)
    seconds = time.perf_counter() - wall
    return {
        "gigavoxels": round(here.region.size / 1e9, 2),
        "blocks": len(here.grid),
        "counting_s": round(counted, 1),
        "mvoxel_s": round(here.region.size / 1e6 / counted, 1),
        "all_s": round(seconds, 1),
        "rest_s": round(seconds - counted, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "page_mb": round(Path(done.page).stat().st_size / 1e6, 2),
        "table_mb": round(Path(done.table).stat().st_size / 1e6, 2),
        "kinds": {name: count for name, count in done.kinds.items() if count},
        "f1_75": round(done.difference.objects["f1_75"], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--folder", help="Where the run folders are made and stay (default: made and removed).")
    parser.add_argument("--out", metavar="FILE")
    parser.add_argument("--compare", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compare:
        print(json.dumps(measured(*arguments.compare)))
        return
    results = {}
    with tempfile.TemporaryDirectory(prefix="comparison-size-") as scratch:
        for objects in arguments.objects:
            run, other = (str(Path(arguments.folder or scratch, f"{name}{objects}")) for name in ("here", "there"))
            if not Path(other).exists():
                drawn(run, objects, LATTICE, everywhere=True)
                changed(run, other)
            # In a process of its own: a process's peak memory counts what was made before.
            done = subprocess.run([sys.executable, __file__, "--compare", run, other], capture_output=True, text=True, check=True)
            results[str(objects)] = json.loads(done.stdout)
            print(objects, results[str(objects)], flush=True)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
