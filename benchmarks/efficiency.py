"""How much of the time of detect and segment is in models and ops, and how well two workers share the work.

    python benchmarks/efficiency.py volume.tif --voxel-size 5,5,5 --out efficiency.json

A crop is converted once. Then the same blocks are detected and segmented by mitoscale on Dask with one worker and with two,
and, as the peer, by one plain process and by two that share the blocks and know nothing of each other (they meet between
the stages only). One thread each; models are loaded before the clock starts. Overhead is whatever a slot did besides models
and ops: reading, writing, waiting for tasks and for the last block. ``of_independent`` is mitoscale's speed-up over the peer's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from mitoscale.cluster.clusters import ClusterSettings, start
from mitoscale.cluster.configuration import memory_environment, thread_environment
from mitoscale.nets.factories import preload_models
from mitoscale.pipeline import Observer, Run, execute, load
from mitoscale.pipeline.status import progress

STAGES = ("detect", "segment")


def on_dask(run: Run, workers: int) -> dict[str, Any]:
    """Mitoscale with so many workers."""
    with start(ClusterSettings(workers=workers, threads=1)) as cluster:
        cluster.client.wait_for_workers(workers)
        cluster.client.run(partial(_preload, run))
        _preload(run)  # the client looks at the models too before it sends tasks
        outcomes = execute(run, STAGES, cluster.executor, Observer())
    assert all(o.computed == o.tasks for o in outcomes)
    spent = {stage.name: stage.seconds for stage in progress(run).stages if stage.name in STAGES}
    wall = sum(s["wall"] for s in spent.values())
    compute, read, write = (sum(s[phase] for s in spent.values()) for phase in ("compute", "read", "write"))
    return {
        "seconds": round(wall, 1),
        "compute": round(compute, 1),
        "read": round(read, 2),
        "write": round(write, 2),
        "waiting_and_dask": round(wall * workers - compute - read - write, 2),
        "overhead_of_compute": round((wall * workers - compute) / compute, 3),
    }


def independent(run: Run, processes: int) -> dict[str, Any]:
    """Plain processes that share the blocks."""
    for name in STAGES:
        run.stage(name).prepare(fresh=True)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    started = [context.Process(target=_share, args=(run, n, processes, barrier)) for n in range(processes)]
    for process in started:
        process.start()
    barrier.wait()  # models are loaded
    began = time.perf_counter()
    for _ in STAGES:
        barrier.wait()
    seconds = time.perf_counter() - began
    for process in started:
        process.join()
    assert all(process.exitcode == 0 for process in started)
    return {"seconds": round(seconds, 1)}


def _share(run: Run, number: int, processes: int, barrier: Any) -> None:
    """Every n-th block of both stages."""
    _preload(run)
    barrier.wait()
    for name in STAGES:
        stage = run.stage(name)
        for key in islice(stage.keys(), number, None, processes):
            stage.process(key)
        barrier.wait()


def _preload(run: Run) -> None:
    settings = run.plan.settings
    preload_models(settings.detect, settings.segment, run.plan.spec.spacing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume")
    parser.add_argument("--voxel-size", required=True)
    parser.add_argument("--region", default="0:48,0:512,0:512")
    parser.add_argument("--block", default="16,256,256")
    parser.add_argument("--segmenter", default="unet")
    parser.add_argument("--out", help="results of other segmenters in it stay")
    arguments = parser.parse_args()
    os.environ.update(thread_environment(1) | memory_environment())
    with tempfile.TemporaryDirectory() as scratch:
        base = f"{scratch}/base"
        command = [sys.executable, "-m", "mitoscale", "convert", arguments.volume, base, "--voxel-size", arguments.voxel_size]
        command += ["--region", arguments.region, "--block", arguments.block, "--segmenter", arguments.segmenter, "--workers", "1"]
        subprocess.run(command, check=True)
        found: dict[str, Any] = {"region": arguments.region, "block": arguments.block, "blocks": len(load(base).plan.grid)}
        found["machine"] = f"{psutil.cpu_count()} CPUs, {platform.machine()}"
        found["load_average_before"] = round(os.getloadavg()[0], 1)
        for name, way in (("dask", on_dask), ("independent", independent)):
            for count in (1, 2):
                run = shutil.copytree(base, f"{scratch}/{name}-{count}")
                found[f"{name}_{count}"] = way(load(run), count)
                print(f"{name} {count}:", found[f"{name}_{count}"], flush=True)
    ours, peers = (found[f"{way}_1"]["seconds"] / found[f"{way}_2"]["seconds"] for way in ("dask", "independent"))
    found |= {"speed_up": round(ours, 3), "independent_speed_up": round(peers, 3), "of_independent": round(ours / peers, 3)}
    print(json.dumps(found, indent=2))
    if arguments.out:
        out = Path(arguments.out)
        result = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps({**result, arguments.segmenter: found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
