"""A whole run from the command line: its time, its peak memory over all processes, and its scores.

    python benchmarks/whole_run.py volume.tif truth.tif RUN --voxel-size 5,5,5 --slices 132:165 --out result.json [run options]

Memory is the proportional set size (shared pages counted once), added up over the command and all its children twice a
second. What follows the named options goes to ``mitoscale run``.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil

from mitoscale.pipeline import load
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger


def memory(process: psutil.Process) -> int:
    """Bytes a process and its children hold."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("truth")
    parser.add_argument("run")
    parser.add_argument("--voxel-size", required=True)
    parser.add_argument("--slices")
    parser.add_argument("--truth-threshold")
    parser.add_argument("--out")
    arguments, more = parser.parse_known_args()
    mitoscale = [sys.executable, "-m", "mitoscale"]
    command = [*mitoscale, "run", arguments.volume, arguments.run, "--voxel-size", arguments.voxel_size, *more]
    began = time.monotonic()
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(process))
        time.sleep(0.5)
    seconds = time.monotonic() - began
    if process.returncode:
        sys.exit(process.returncode)
    evaluation = [*mitoscale, "evaluate", arguments.run, arguments.truth, "--json"]
    evaluation += ["--slices", arguments.slices] if arguments.slices else []
    evaluation += ["--truth-threshold", arguments.truth_threshold] if arguments.truth_threshold else []
    scores = json.loads(subprocess.run(evaluation, check=True, capture_output=True, text=True).stdout)
    there = load(arguments.run)
    folder, settings = RunFolder(there.plan.run), there.plan.settings
    measured = Ledger(folder.ledger("measure")).entries(settings.token("measure"))["finished"].counts
    segmented = Ledger(folder.ledger("segment")).entries(settings.token("segment"))["finished"].counts
    result = {
        "volume": Path(arguments.volume).name,
        "options": [Path(option).name if Path(option).is_absolute() else option for option in more],
        "slices": arguments.slices or "all",
        "seconds": round(seconds, 1),
        "mvoxel_per_second": round(there.plan.region.size / 1e6 / seconds, 3),
        "peak_gib": round(peak / 2**30, 2),
        "objects": measured["objects"],
        "changed": round(segmented["changed_voxels"] / max(segmented["mask_voxels"], 1), 4),
        "asked": round(segmented["prompts"] / max(segmented["profiles"], 1), 4),
        "machine": f"{psutil.cpu_count()} CPUs, {platform.machine()}",
        "scores": scores,
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
