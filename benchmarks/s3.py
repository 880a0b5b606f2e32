"""Runs in an object store: the same run on a disk, in a store, and in a store that stumbles while its client is killed at random.

    python benchmarks/s3.py TRAINING.tif --kills 20 --out benchmarks/results/s3.json

The store is a real S3 server on loopback (moto), see ``s3_server.py``. Kills (SIGKILL of the client and its workers) come at random
moments of a start, from its first imports to its last object; after each the same command starts again, in this process' threads or
with a worker, as chance wills. Labels of all levels and all tables must be those of the disk, bit for bit.
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.core.settings import STAGES
from mitoscale.pipeline import load
from mitoscale.storage.arrays import open_array
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.object_store import names_below
from mitoscale.storage.tables import read_table
from s3_server import S3Server, serving

RATES = {"slow down": 0.01, "broken": 0.01, "answer lost": 0.01, "late": 0.02}
"""How often a request ends otherwise."""

TABLES = ("objects", "contacts", "detections", "edges_table", "slices")


def main() -> None:
    """Run all, print a table, and fail where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--voxel-size", default="5,5,5")
    parser.add_argument("--region", default="0:32,0:128,0:128")
    parser.add_argument("--block", default="16,64,64")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    options = ["--voxel-size", a.voxel_size, "--region", a.region, "--block", a.block]
    with tempfile.TemporaryDirectory(prefix="s3-") as scratch, serving("bucket", a.seed) as server:
        os.environ.update(server.environment)
        result = Comparison(a.volume, options, Path(scratch), server, random.Random(a.seed)).go(a.kills)
    result |= {"volume": Path(a.volume).name, "region": a.region, "block": a.block, "seed": a.seed, "rates": RATES}
    print(table(result))
    if a.out:
        a.out.write_text(json.dumps(result, indent=2) + "\n")
    if not all(result["same"].values()):
        sys.exit("labels or tables differ")


class Comparison:
    """The same run in three places.

    Parameters
    ----------
    volume : str
        The source.
    options : list of str
        Of ``mitoscale run``: voxel size, region, block.
    scratch : Path
        An empty folder.
    server : S3Server
        The store.
    chance : random.Random
        Of all that happens by chance.
    """

    def __init__(self, volume: str, options: list[str], scratch: Path, server: S3Server, chance: random.Random) -> None:
        self.volume, self.options, self.scratch, self.server, self.chance = volume, options, scratch, server, chance
        (scratch / "faults.json").write_text("{}")  # the detector is the plain one of chaos.py

    def go(self, kills: int) -> dict[str, Any]:
        """Run all three and compare.

        Parameters
        ----------
        kills : int
            How often the client is killed.
        """
        disk, quiet, hurt = str(self.scratch / "run"), "s3://bucket/quiet", "s3://bucket/hurt"
        on_disk, in_store = self._timed(disk), self._timed(quiet)
        requests = dict(self.server.counts)
        self.server.counts.clear()
        self.server.rates = RATES
        moments = self._killed(hurt, kills, in_store)
        self.server.rates = {}
        blocks = len(load(disk).plan.grid)
        return {
            "blocks": blocks,
            "seconds_on_disk": round(on_disk, 1),
            "seconds_in_store": round(in_store, 1),
            "ratio": round(in_store / on_disk, 2),
            "requests": {method: requests[method] for method in ("GET", "PUT", "DELETE")},
            "requests_a_block": round(sum(requests[method] for method in ("GET", "PUT", "DELETE")) / blocks),
            "objects": len(names_below(quiet)),
            "kills": kills,
            "killed_in": {stage: moments.count(stage) for stage in sorted(set(moments))},
            "faults": {name: self.server.counts[name] for name in RATES},
            "same": {"in the store": same(disk, quiet), "after kills and faults": same(disk, hurt)},
        }

    def _timed(self, run: str) -> float:
        began = time.monotonic()
        code = self._begin(run).wait()
        if code:
            sys.exit(f"{run} ended with {code}")
        return time.monotonic() - began

    def _killed(self, run: str, kills: int, usual: float) -> list[str]:
        """Kill starts until there were enough, then let one end; returns in which stage each was killed."""
        moments: list[str] = []
        more: list[str] = []
        while len(moments) < kills:
            process = self._begin(run, *more, *self.chance.choice([[], ["--workers", "1"]]))
            try:
                process.wait(timeout=self.chance.uniform(0.1, 1.0) * usual)
                more = ["--redo", self.chance.choice(STAGES)]  # it has ended: have it work again
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                moments.append(self._stage_at_work(run))
                more = more if moments[-1] == "start-up" else []
        while self._begin(run, *more).wait():  # 4: the store was away for too long
            more = []
        return moments

    def _stage_at_work(self, run: str) -> str:
        """The stage that was begun and not ended; start-up: none was, libraries and workers were still starting."""
        told = [event for event in EventLog(RunFolder(run).events).read() if event.kind in ("started", "ended")]
        return told[-1].stage if told and told[-1].kind == "started" else "start-up"

    def _begin(self, run: str, *more: str) -> subprocess.Popen[bytes]:
        detector = ["--detector", "chaos_detector:detector", "--detector-option", f"folder={self.scratch}"]
        arguments = [self.volume, run, *self.options, "--segmenter", "unet", *detector, *more]
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        return subprocess.Popen(
            [sys.executable, "-m", "mitoscale", "run", *arguments],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def same(one: str, other: str) -> bool:
    """Whether labels of all levels and all tables are equal bit for bit.

    Parameters
    ----------
    one, other : str
        Runs.
    """
    plans = [load(run).plan for run in (one, other)]
    for level in range(len(plans[0].spec.factors)):
        region = plans[0].region.downsampled(plans[0].spec.factors[level])
        here, there = (open_array(f"{plan.labels}/{level}").read(region) for plan in plans)
        if here.dtype != there.dtype or not np.array_equal(here, there):
            return False
    for name in TABLES:
        a, b = (read_table(getattr(RunFolder(plan.run), name)) for plan in plans)
        if a.keys() != b.keys() or not all(_equal(a[column], b[column]) for column in a):
            return False
    return True


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def table(result: Mapping[str, Any]) -> str:
    """Rows of Markdown.

    Parameters
    ----------
    result : mapping
        As it is written.
    """
    requests = ", ".join(f"{count} {method}" for method, count in result["requests"].items())
    rows = {
        "blocks": result["blocks"],
        "seconds on a disk, in the store": f"{result['seconds_on_disk']}, {result['seconds_in_store']} ({result['ratio']} times)",
        "requests": f"{requests}; {result['requests_a_block']} a block",
        "kills": f"{result['kills']}: " + ", ".join(f"{count} in {stage}" for stage, count in result["killed_in"].items()),
        "faults of the store": ", ".join(f"{count} {name}" for name, count in result["faults"].items()),
        "labels and tables": ", ".join(f"{'the same' if same else 'OTHERS'} {place}" for place, same in result["same"].items()),
    }
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


if __name__ == "__main__":
    main()
