"""What a block costs client and scheduler, and what they keep of it: 10^5 blocks that compute nothing.

    python benchmarks/scale.py --out scale.json
    python benchmarks/scale.py --way bundled --out scale.json     # one way alone; the others in the file stay

Two workers of one thread each on this machine; client and scheduler are one process, whose time and memory count. The product's
own stage runner takes blocks from a grid, digests what each would read from the ledger of the stage before, submits, and
writes a real ledger. Ways: ``one by one`` (a block a task), ``bundled`` (16 blocks a task), and, as the peer, ``plain Dask``:
the same function over the same blocks with ``Client.map`` and ``as_completed``, all at once, no ledger, no retries. ``ends`` is
what the client does alone after ``stitch`` and before ``relabel`` (see ``ends.py``); its times are of the processor.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from ends import ends
from mitoscale.cluster.clusters import Cluster, ClusterSettings, start
from mitoscale.cluster.task_pool import IN_FLIGHT
from mitoscale.core.result import BlockResult
from mitoscale.pipeline.observer import Observer
from mitoscale.pipeline.stage_run import StageRun
from mitoscale.pipeline.state import FINISHED, StageState, digest, ledger_of, results
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder
from nothing import Simulated, result_of, simulated

WAYS = {"one by one": 1, "bundled": 16, "plain Dask": 0, "ends": 0}
"""Blocks a task."""

WORKERS = 2
LOOKS = 1000
"""How often the scheduler is asked how many tasks it knows."""


class Watch(Observer):
    """Hears how the stage goes on: time, memory and tasks in pool."""

    def __init__(self, cluster: Cluster, blocks: int) -> None:
        self._cluster, self._blocks, self._done = cluster, blocks, 0
        self.most_tasks, self.memory = 0, [_memory()]
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def task_done(self, name: str, task: str, voxels: float) -> None:
        """See Observer."""
        self._done += 1
        if self._done % max(1, self._blocks // LOOKS) == 0:
            self.most_tasks = max(self.most_tasks, self._cluster.client.run_on_scheduler(_tasks))
        if self._done % (self._blocks // 10) == 0:
            self.memory.append(_memory())

    def numbers(self) -> dict[str, Any]:
        """What was measured."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        steady = (self.memory[-1] - self.memory[2]) / (self._done - 2 * (self._blocks // 10))
        return {
            "blocks": self._done,
            "wall_seconds": round(wall, 1),
            "ms_a_block": round(1e3 * cpu / self._done, 3),
            "memory_growth_mib": round((psutil.Process().memory_info().rss - self.memory[0]) / 2**20, 1),
            "steady_growth_bytes_a_block": round(steady),
            "most_tasks_on_the_scheduler": self.most_tasks,
        }


def ours(cluster: Cluster, run: Simulated, blocks: int, bundle: int) -> dict[str, Any]:
    """The product's stage runner."""
    cluster.executor.bundle = bundle
    watch = Watch(cluster, blocks)
    outcome = StageRun(run, "detect", cluster.executor, watch, EventLog(RunFolder(run.plan.run).events)).execute()
    assert outcome.computed == len(run.plan.grid) and not outcome.quarantined
    numbers = watch.numbers()
    return {**numbers, "in_flight_at_most": IN_FLIGHT * WORKERS}


def plain_dask(cluster: Cluster, run: Simulated, blocks: int) -> dict[str, Any]:
    """Dask's own way."""
    from distributed import as_completed

    watch = Watch(cluster, blocks)
    keys = list(run.plan.detect_grid.blocks())
    futures = cluster.client.map(result_of, keys, key=[f"plain-{key.name}" for key in keys], pure=False)
    for batch in as_completed(futures, loop=cluster.client.loop, with_results=True).batches():
        for _future, result in batch:
            watch.task_done("plain", result.name, 0.0)
    return watch.numbers()


def measured(way: str, blocks: int) -> dict[str, Any]:
    """Run one way in this process."""
    with tempfile.TemporaryDirectory() as folder:
        if way == "ends":
            return ends(folder, blocks)
        run = simulated(folder, blocks)
        ledger = {"ledger_ms_a_line": round(_write_convert(run), 4), **_reading(run)}
        with start(ClusterSettings(workers=WORKERS, threads=1, memory="1 GiB")) as cluster:
            cluster.client.wait_for_workers(WORKERS)
            if way == "plain Dask":
                return plain_dask(cluster, run, blocks)
            return {**ours(cluster, run, blocks, WAYS[way]), **ledger}


def _write_convert(run: Simulated) -> float:
    """The ledger of the stage before; returns milliseconds a line."""
    ledger, token = ledger_of(run, "convert"), run.plan.settings.token("convert")
    began = time.perf_counter()
    for block in run.plan.convert_grid.blocks():
        ledger.append(result_of(block), token=token)
    seconds = time.perf_counter() - began
    ledger.append(BlockResult(name=FINISHED, checksum="0"), token=token, inputs=digest([]))
    ledger.close()
    return 1e3 * seconds / len(run.plan.convert_grid)


def _reading(run: Simulated) -> dict[str, Any]:
    """What it takes to read that ledger, in time and memory."""
    blocks, before, began = len(run.plan.convert_grid), _memory(), time.perf_counter()
    sums = results(run, "convert").sums
    between, half = _memory(), time.perf_counter()
    standing = StageState.of(run, "convert")
    done = standing.done
    assert len(sums) == len(done) == blocks
    return {
        "source_bytes_a_block": round((between - before) / blocks),
        "source_ms_a_block": round(1e3 * (half - began) / blocks, 4),
        "standing_bytes_a_block": round((_memory() - between) / blocks),
        "standing_ms_a_block": round(1e3 * (time.perf_counter() - half) / blocks, 4),
    }


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)


def _tasks(dask_scheduler: Any) -> int:
    """Runs on the scheduler."""
    return len(dask_scheduler.tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--out")
    parser.add_argument("--way", choices=tuple(WAYS), help="measure this way alone")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measured(arguments.way, arguments.blocks)))
        return
    out = Path(arguments.out) if arguments.out else None
    result: dict[str, Any] = json.loads(out.read_text()) if out and out.exists() else {}
    for way in [arguments.way] if arguments.way else WAYS:
        command = [sys.executable, __file__, "--blocks", str(arguments.blocks), "--way", way, "--here"]
        result[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(way, json.dumps(result[way], indent=2))
    peer = result.get("plain Dask")
    for way in ("one by one", "bundled"):
        if peer and way in result:
            result[way]["times_the_time_of_plain_dask"] = round(result[way]["ms_a_block"] / peer["ms_a_block"], 2)
            if result[way]["blocks"] == peer["blocks"]:
                ratio = result[way]["memory_growth_mib"] / peer["memory_growth_mib"]
                result[way]["times_the_memory_of_plain_dask"] = round(ratio, 2)
            print(way, {name: value for name, value in result[way].items() if name.startswith("times")})
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
