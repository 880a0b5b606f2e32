"""Chaos: a real run on an EM volume while workers, data and the client itself are destroyed, at random and from outside.

The labels must come out bit for bit as those of an undisturbed run; with a block that always fails the run must end with 3,
keep all objects that do not meet it, and be healed by ``mitoscale retry``. Each fault must be found in the run's log of
events.

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from chaos_faults import Fault, match, table
from mitoscale.core.event import Event
from mitoscale.pipeline import load, quarantined
from mitoscale.pipeline.state import StageState
from mitoscale.storage.arrays import open_array
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder

INSIDE = {"raise": 18, "store": 8, "die": 6, "memory": 2}
"""Faults inside a block, and how many of each."""

OUTSIDE = {"kill": 9, "stop": 2, "client": 4}
"""What is done from outside, in random order and at random times."""

DAMAGES = 2
"""Blocks whose data is destroyed while there is no client."""

STOP_SECONDS = 30.0
"""Longer than ``worker_ttl``, and than the time until the scheduler looks."""

YOUNG_SECONDS = 8.0
"""A worker younger than this may not have registered yet: nobody would hear of its death."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--voxel-size", default="5,5,5")
    parser.add_argument("--region", default="0:32,0:256,0:256")
    parser.add_argument("--block", default="16,64,64")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        options = ["--voxel-size", a.voxel_size, "--region", a.region, "--block", a.block]
        result = Chaos(a.volume, options, Path(scratch), seed=a.seed).go(INSIDE, OUTSIDE)
    result |= {"volume": Path(a.volume).name, "region": a.region, "block": a.block, "seed": a.seed}
    print(json.dumps(result, indent=2))
    if a.out:
        a.out.write_text(json.dumps(result, indent=2) + "\n")
    if not result["labels_bit_identical"]:
        sys.exit("the labels differ")


class Chaos:
    """Two runs of the same volume: one left in peace, one not.

    Parameters
    ----------
    volume : str
        The source.
    options : list of str
        Of ``mitoscale run``: voxel size, region, block.
    scratch : Path
        An empty folder.
    seed : int
        Of all that happens by chance.
    """

    def __init__(self, volume: str, options: list[str], scratch: Path, seed: int) -> None:
        self.volume, self.options, self.scratch = volume, options, scratch
        self.chance = random.Random(seed)
        self.faults: list[Fault] = []
        self.planned = scratch / "faults"
        self.planned.mkdir()
        self.peace, self.run = str(scratch / "peace"), str(scratch / "run")
        (scratch / "cluster.yaml").write_text("kind: local\nworkers: 2\nmemory: 1 GiB\nworker_ttl: 10 s\ndashboard: 127.0.0.1:0\n")

    def go(self, inside: Mapping[str, int], outside: Mapping[str, int]) -> dict[str, Any]:
        """Run both and compare."""
        began = time.monotonic()
        (self.planned / "faults.json").write_text("{}")
        self._finish(self._begin("run", self.peace), 0)
        quiet = time.monotonic() - began
        poisoned = self._plan(inside)
        code = self._disturbed([kind for kind, times in outside.items() for _ in range(times)])
        lost = quarantined(load(self.run))
        far, same_far = self._unaffected(lost)
        (self.planned / "poison").unlink()
        healed = self._finish(self._begin("retry", self.run, "--performance-report", str(self.scratch / "reports")), 0)
        disturbed = time.monotonic() - began - quiet
        self._collect(poisoned)
        events = EventLog(RunFolder(self.run).events).read()
        match(self.faults, events)
        return {
            "faults": len(self.faults),
            "told_in_the_log": sum(f.used is not None for f in self.faults),
            "labels_bit_identical": bool(np.array_equal(labels(self.peace), labels(self.run))),
            "exit_code_with_poison": code,
            "quarantined": lost,
            "objects_away_from_it": far,
            "objects_away_from_it_unchanged": same_far,
            "exit_code_of_retry": healed,
            "quarantined_after_retry": quarantined(load(self.run)),
            "table": table(self.faults),
            "untold": [f"{f.kind} {f.block} {f.told} {_around(f.time, events)}" for f in self.faults if f.used is None],
            "events": dict(Counter(e.kind for e in events)),
            "objects": int(labels(self.run).max()),
            "blocks": len(load(self.run).plan.grid),
            "undisturbed_seconds": round(quiet, 1),
            "disturbed_seconds": round(disturbed, 1),
        }

    def _plan(self, inside: Mapping[str, int]) -> str:
        """Give blocks their faults, one or two each, so that none is tried too often; returns the poisoned one, in a corner."""
        first, *others = load(self.peace).plan.detect_grid.blocks()
        self.chance.shuffle(others)
        faults = [fault for fault, times in inside.items() for _ in range(times)]
        self.chance.shuffle(faults)
        plan: dict[str, list[str]] = {str(first.halo): ["poison"]}
        for number, fault in enumerate(faults):
            plan.setdefault(str(others[number % len(others)].halo), []).append(fault)
        (self.planned / "faults.json").write_text(json.dumps(plan))
        (self.planned / "poison").touch()
        return first.name

    def _disturbed(self, outside: list[str]) -> int:
        """Run with faults from outside; returns the exit code of the last start."""
        self.chance.shuffle(outside)
        process = self._begin("run", self.run)
        while outside:
            try:
                process.wait(timeout=self.chance.uniform(1.0, 5.0))
            except subprocess.TimeoutExpired:
                if outside[-1] == "client":
                    outside.pop()
                    self._note("client")
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    process = self._begin("run", self.run, *self._damage())
                elif self._hurt_a_worker(outside[-1], process):
                    outside.pop()
            else:  # it has ended before all was done to it: have it work again
                process = self._begin("run", self.run, "--redo", self.chance.choice(["segment", "stitch", "relabel"]))
        return process.wait()

    def _hurt_a_worker(self, how: str, process: subprocess.Popen[bytes]) -> bool:
        """Whether there was one with a stage under way: of what happens when all is done, nobody hears."""
        if not self._at_work():
            return False
        old = [w for w in workers_of(process.pid) if time.time() - w.create_time() > YOUNG_SECONDS]
        if not old:
            return False
        worker = self.chance.choice(old)
        if how == "kill":
            worker.kill()
            self._note("kill")
            return True
        worker.suspend()
        self._note("stop")
        time.sleep(STOP_SECONDS)
        if worker.is_running():
            worker.resume()
        return True

    def _at_work(self) -> bool:
        """Whether tasks are on the cluster now."""
        path = RunFolder(self.run).events
        told = [e for e in EventLog(path).read() if e.kind in ("started", "ended")] if Path(path).exists() else []
        return bool(told) and told[-1].kind == "started" and told[-1].stage != "report"

    def _damage(self) -> list[str]:
        """Destroy what detect has written of some blocks, each in another way; returns options that have it read again."""
        if not Path(RunFolder(self.run).run_json).exists():  # killed before it had begun
            return []
        run = load(self.run)
        done = sorted(StageState.of(run, "detect").done)
        for name in self.chance.sample(done, min(DAMAGES, len(done))):
            z, y, x = run.plan.grid.named(name).index
            shard = Path(RunFolder(self.run).foreground, "c", str(z), str(y), str(x))
            destroy(shard, self.chance.choice(["remove", "cut", "overwrite"]), self.chance)
            self._note("damage", name)
        return ["--redo", "segment"]

    def _note(self, kind: str, block: str = "", when: float | None = None) -> None:
        self.faults.append(Fault(kind=kind, time=time.time() if when is None else when, block=block))

    def _collect(self, poisoned: str) -> None:
        """Add the faults that happened inside blocks; the detector has left a file for each."""
        names = {str(block.halo): block.name for block in load(self.run).plan.detect_grid.blocks()}
        for mark in self.planned.iterdir():
            if mark.name.count("-") == 2:
                region, _, kind = mark.name.split("-")
                self._note(kind, names[region], mark.stat().st_mtime)
        assert any(f.kind == "poison" and f.block == poisoned for f in self.faults)

    def _unaffected(self, lost: Mapping[str, list[str]]) -> tuple[int, bool]:
        """How many objects do not meet what lost blocks read, and whether they are the same but for their numbers."""
        plan, found, expected = load(self.run).plan, labels(self.run), labels(self.peace)
        met = np.zeros(expected.shape, bool)
        for name in {task.partition("+")[0] for tasks in lost.values() for task in tasks}:
            z, y, x = plan.region.start
            met[plan.grid.named(name).halo.shifted((-z, -y, -x)).slices] = True
        far = np.setdiff1d(np.unique(expected[~met]), np.unique(expected[met]))
        far = far[far > 0]
        kept = np.isin(expected, far)
        pairs = np.unique(np.stack([expected[kept], found[kept]]), axis=1)
        one_to_one = len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1])) and (pairs[1] > 0).all()
        return len(far), bool(one_to_one and not np.isin(found[~kept], pairs[1]).any())

    def _begin(self, command: str, run: str, *more: str) -> subprocess.Popen[bytes]:
        options = [run, "--cluster", str(self.scratch / "cluster.yaml"), *more]
        if command == "run":
            detector = ["--detector", "chaos_detector:detector", "--detector-option", f"folder={self.planned}"]
            options = [self.volume, *options, *self.options, "--segmenter", "unet", *detector]
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


def workers_of(client: int) -> list[psutil.Process]:
    """Worker processes of a client: its children that were spawned."""
    try:
        found = psutil.Process(client).children(recursive=True)
        return [p for p in found if p.is_running() and "spawn_main" in " ".join(p.cmdline())]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _around(moment: float, events: Sequence[Event]) -> str:
    """What the log tells before and after a moment."""
    near = sorted(events, key=lambda e: abs(e.time - moment))[:4]
    return "; ".join(f"{e.time - moment:+.1f} s {e.kind} {e.stage}" for e in sorted(near, key=lambda e: e.time))


def destroy(shard: Path, how: str, chance: random.Random) -> None:
    """Remove a file, cut it off, or overwrite some of its bytes."""
    content = bytearray(shard.read_bytes())
    if how == "remove":
        shard.unlink()
        return
    if how == "cut":
        del content[len(content) // 2 :]
    else:
        for place in chance.sample(range(len(content)), min(64, len(content))):
            content[place] ^= 0xFF
    shard.write_bytes(content)


def labels(run: str) -> np.ndarray:
    """(Z, Y, X) of the run's region."""
    plan = load(run).plan
    return open_array(f"{plan.labels}/0").read(plan.region)


if __name__ == "__main__":
    main()
