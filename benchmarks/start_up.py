"""What the smallest jobs take, from the command to its end: help, conversion of a tiny stack, a whole run of it.

    python benchmarks/start_up.py --out benchmarks/results/start-up.json
    git worktree add ../old v0.1.0 && python benchmarks/start_up.py --other ../old      # beside another version

Medians over the rounds of wall seconds and of processor seconds (the command's and those of all processes it waits for). With
``--other`` both versions run one after the other in each round, with the libraries of this environment.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from mitoscale.storage.tiff_writing import write_tiff

SHAPE = (16, 64, 64)


def took(checkout: Path, arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    before, began = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "mitoscale", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run(command, check=True, env=environment, cwd=checkout, capture_output=True)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--other", type=Path, help="checkout of the version to compare this one with")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    versions = {"this": Path(__file__).resolve().parents[1]}
    if arguments.other:
        versions["other"] = arguments.other.resolve()
    found: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in versions}
    with tempfile.TemporaryDirectory(prefix="mitoscale-start-up-") as folder:
        stack = str(Path(folder, "tiny.tif"))
        write_tiff(stack, np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8), (5.0, 5.0, 5.0))
        for number in range(arguments.rounds):
            for what, command in {"--help": ["--help"], "convert": ["convert", stack], "run": ["run", stack]}.items():
                for name, checkout in versions.items():
                    run = [] if what == "--help" else [f"{folder}/{name}-{what}-{number}"]
                    found[name].setdefault(what, []).append(took(checkout, [*command, *run]))
                    print(number, what, name, *(round(s, 2) for s in found[name][what][-1]), flush=True)
    result = {
        name: {
            what: {"seconds": round(median(w for w, _ in times), 2), "processor_seconds": round(median(p for _, p in times), 2)}
            for what, times in commands.items()
        }
        for name, commands in found.items()
    } | {"shape": SHAPE, "rounds": arguments.rounds, "machine": f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end"}
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
