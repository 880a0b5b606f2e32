"""Chaos: a real run on an EM volume while workers, data and the client itself are destroyed, at random and from outside.

The labels must come out bit for bit as those of an undisturbed run; with a block that always fails the run must end with 3,
and be healed by ``mitoscale retry``. Each fault must be found in the run's log of events.

    python benchmarks/chaos.py TRAINING.tif --out benchmarks/results/chaos.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from mitoscale.pipeline import load, quarantined
from mitoscale.storage.arrays import open_array
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder

INSIDE = {"raise": 18, "store": 8, "die": 6, "memory": 2}
"""Faults inside a task, and how many of each."""

OUTSIDE = ("kill",) * 6 + ("stop",) * 2 + ("damage",) * 5 + ("client",)
"""What is done from outside, in random order; ``client`` kills the process with the scheduler in it, which is started again."""

TELLS = {
    "raise": "raised",
    "store": "raised",
    "die": "worker lost",
    "memory": "worker lost",
    "kill": "worker lost",
    "stop": "worker lost",
    "damage": "damaged",
    "poison": "quarantined",
    "client": "started",
}
"""Fault -> the event that tells of it."""

STOP_SECONDS = 25.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--region", default="0:32,0:512,0:512")
    parser.add_argument("--block", default="16,128,128")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = Chaos(arguments, Path(scratch)).go()
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


class Chaos:
    """Two runs of the same volume: one left in peace, one not."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self.arguments, self.scratch = arguments, scratch
        self.chance = random.Random(arguments.seed)
        self.done: Counter[str] = Counter()
        self.faults = scratch / "faults"
        self.faults.mkdir()
        (scratch / "cluster.yaml").write_text("kind: local\nworkers: 2\nmemory: 1 GiB\nworker_ttl: 10 s\ndashboard: 127.0.0.1:0\n")

    def go(self) -> dict[str, object]:
        """Run both and compare."""
        began = time.monotonic()
        peace, run = str(self.scratch / "peace"), str(self.scratch / "run")
        (self.faults / "faults.json").write_text("{}")
        self._finish(self._begin("run", peace), 0)
        quiet = time.monotonic() - began
        self._plan(peace)
        code = self._disturbed(run)
        lost = quarantined(load(run))
        (self.faults / "poison").unlink()
        healed = self._finish(self._begin("retry", run), 0)
        same = bool(np.array_equal(labels(peace), labels(run)))
        inside = Counter(path.name.rsplit("-", 1)[1] for path in self.faults.iterdir() if "-" in path.name)
        self.done.update(inside)
        told: Counter[str] = Counter(event.kind for event in EventLog(RunFolder(run).events).read())
        return {
            "labels_bit_identical": same,
            "exit_code_with_poison": code,
            "exit_code_of_retry": healed,
            "quarantined": lost,
            "quarantined_after_retry": quarantined(load(run)),
            "faults": sum(self.done.values()),
            "table": [row(fault, times, told) for fault, times in self.done.items()],
            "events": dict(told),
            "objects": int(labels(run).max()),
            "blocks": len(load(run).plan.grid),
            "undisturbed_seconds": quiet,
            "disturbed_seconds": time.monotonic() - began - quiet,
        }

    def _plan(self, peace: str) -> None:
        """Give blocks their faults: one each, as far as they go, so that none is tried too often."""
        regions = [str(block.halo) for block in load(peace).plan.detect_grid.blocks()]
        self.chance.shuffle(regions)
        faults = [fault for fault, times in INSIDE.items() for _ in range(times)]
        plan: dict[str, list[str]] = {regions[0]: ["poison"]}
        for number, fault in enumerate(faults):
            plan.setdefault(regions[1 + number % (len(regions) - 1)], []).append(fault)
        (self.faults / "faults.json").write_text(json.dumps(plan))
        (self.faults / "poison").touch()

    def _disturbed(self, run: str) -> int:
        """Run with faults from outside; returns the exit code of the last start."""
        outside = list(OUTSIDE)
        self.chance.shuffle(outside)
        process = self._begin("run", run)
        while True:
            try:
                process.wait(timeout=self.chance.uniform(1.0, 4.0))
            except subprocess.TimeoutExpired:
                if not outside:
                    continue
                fault = outside[-1]
                if self._disturb(fault, run, process):
                    outside.pop()
                    self.done[fault] += 1
                if fault == "client" and process.poll() is not None:
                    process = self._begin("run", run)
                continue
            if not outside:
                return process.returncode
            # It ended before all was done to it: destroy data that is done, and have it go on.
            process = self._begin("run", run, "--redo", self.chance.choice(["segment", "stitch", "relabel"]))

    def _disturb(self, fault: str, run: str, process: subprocess.Popen[bytes]) -> bool:
        """Whether it could be done."""
        if fault == "damage":
            shards = [p for p in Path(RunFolder(run).foreground, "c").rglob("*") if p.is_file() and p.stat().st_size]
            return bool(shards) and damage(self.chance.choice(shards))
        if fault == "client":
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        workers = workers_of(process.pid)
        if not workers:
            return False
        worker = self.chance.choice(workers)
        if fault == "kill":
            worker.kill()
        else:
            worker.suspend()
            time.sleep(STOP_SECONDS)
            if worker.is_running():
                worker.resume()
        return True

    def _begin(self, command: str, run: str, *more: str) -> subprocess.Popen[bytes]:
        options = ["--cluster", str(self.scratch / "cluster.yaml"), *more]
        if command == "run":
            region = ["--region", self.arguments.region, "--block", self.arguments.block, "--segmenter", "unet"]
            detector = ["--detector", "chaos_detector:detector", "--detector-option", f"folder={self.faults}"]
            options = [self.arguments.volume, run, "--voxel-size", "5,5,5", *region, *detector, *options]
        else:
            options = [run, *options]
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        return subprocess.Popen(
            [sys.executable, "-m", "mitoscale", command, *options],
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )

    def _finish(self, process: subprocess.Popen[bytes], expected: int) -> int:
        code = process.wait()
        if code != expected:
            raise SystemExit(f"ended with {code}, expected {expected}")
        return code


def row(fault: str, times: int, told: Counter[str]) -> dict[str, object]:
    """What was done, how often, and how often the log tells of that kind of event."""
    return {"fault": fault, "times": times, "told_as": TELLS[fault], "events_of_that_kind": told[TELLS[fault]]}


def workers_of(client: int) -> list[psutil.Process]:
    """Worker processes of a client: its children that were spawned."""
    found = psutil.Process(client).children(recursive=True)
    return [p for p in found if p.is_running() and "spawn_main" in " ".join(p.cmdline())]


def damage(shard: Path) -> bool:
    """Take a shard away."""
    shard.unlink(missing_ok=True)
    return True


def labels(run: str) -> np.ndarray:
    """(Z, Y, X) of the run's region."""
    plan = load(run).plan
    return open_array(f"{plan.labels}/0").read(plan.region)


if __name__ == "__main__":
    main()
