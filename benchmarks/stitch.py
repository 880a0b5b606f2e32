"""Stitching against its peers: connected components of one binary volume, from a Zarr array to a Zarr array of labels.

    python benchmarks/stitch.py FOLDER --out benchmarks/results/stitch.json        (needs pip install '.[benchmarks]')

Three ways, each in processes of its own, that must find the same objects: mitoscale's stages segment, stitch and relabel (its
segmenter finds the parts of each block, as dask-image's first step does) and ``dask_image.ndmeasure.label``, both on
Dask clusters of the same workers with one thread each and the same blocks; and cc3d on the whole array in memory, on
one core: with the same reading and writing, and (``seconds_in_memory``) from an array that is there to one that stays there.
Starting the clusters is not counted. Memory is the proportional set size of all processes. ``cpu`` adds the
processor time of all processes, which other work on the machine does not change much. mitoscale also writes the labels'
pyramid and the tables of fragments and edges.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from binary_volume import SPACING, write_volume
from mitoscale.cluster.clusters import load_cluster, start
from mitoscale.core.geometry import Region, Triple
from mitoscale.pipeline import Observer, execute, load
from mitoscale.storage.arrays import create_array, open_array
from mitoscale.storage.layout import RunFolder
from whole_run import memory

BLOCK: Triple = (64, 512, 512)
TIMED = ("segment", "stitch", "relabel")


def run_dask_image(source: str, labels: str, workers: int) -> dict[str, float]:
    """Seconds that dask-image takes."""
    import dask.array as da
    from dask_image.ndmeasure import label
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        began = time.perf_counter()
        volume = da.from_zarr(source, chunks=BLOCK) > 127
        found, _ = label(volume, structure=np.ones((3, 3, 3)))
        da.to_zarr(found.astype(np.uint32), labels, overwrite=True)
        return {"seconds": time.perf_counter() - began}


def run_cc3d(source: str, labels: str) -> dict[str, float]:
    """Seconds that cc3d takes with reading and writing, and without."""
    import cc3d

    began = time.perf_counter()
    volume = open_array(source, missing="fill").read_all() > 127
    read = time.perf_counter()
    found = cc3d.connected_components(volume, connectivity=26, out_dtype=np.uint32)
    in_memory = time.perf_counter() - read
    create_array(labels, shape=volume.shape, dtype="uint32", chunks=(32, 128, 128), shards=BLOCK)
    array = open_array(labels)
    for z in range(0, volume.shape[0], BLOCK[0]):
        stop = min(z + BLOCK[0], volume.shape[0])
        array.write(Region(start=(z, 0, 0), stop=(stop, *volume.shape[1:])), found[z:stop])
    return {"seconds": time.perf_counter() - began, "seconds_in_memory": in_memory}


def watched(command: list[str]) -> dict[str, Any]:
    """Output, peak memory and processor time of a command and all its children."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    process = psutil.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    peak, spent = 0, {}
    while process.poll() is None:
        peak = max(peak, memory(process))
        for one in [process, *process.children(recursive=True)]:
            try:
                spent[one.pid] = sum(one.cpu_times()[:2])
            except psutil.Error:
                continue
        time.sleep(0.3)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    assert process.stdout is not None
    return {"output": process.stdout.read(), "peak_gib": round(peak / 2**30, 2), "cpu": round(sum(spent.values()), 1)}


def run_mitoscale(run: str, workers: int) -> dict[str, float]:
    """Seconds that the stages take which label, together and each."""
    with start(load_cluster(None).with_workers(workers)) as cluster:
        began = time.perf_counter()
        outcomes = execute(load(run), TIMED, cluster.executor, Observer())
        if any(outcome.quarantined for outcome in outcomes):
            sys.exit(f"blocks were given up: {outcomes}")
        seconds = {"seconds": time.perf_counter() - began}
        return seconds | {f"seconds_of_{outcome.name}": outcome.seconds for outcome in outcomes}


def detected(source: str, run: str, workers: int) -> None:
    """Make a run whose foreground is the volume."""
    command = [sys.executable, "-m", "mitoscale"]
    options = ["--detector", "binary_volume:detector", "--segmenter", "binary_volume:segmenter", "--threshold", "0.9"]
    size = ["--voxel-size", ",".join(map(str, SPACING)), "--block", ",".join(map(str, BLOCK)), "--min-volume", "0"]
    watched([*command, "convert", source, run, *options, *size])
    watched([*command, "detect", run, "--workers", str(workers)])


def same_objects(first: str, second: str) -> int:
    """Number of objects, which must be the same in both up to their numbers; read slab by slab."""
    a, b = open_array(first), open_array(second, missing="fill")
    pairs = np.zeros((0, 2), np.uint64)
    for z in range(0, a.shape[0], BLOCK[0]):
        where = Region(start=(z, 0, 0), stop=(min(z + BLOCK[0], a.shape[0]), *a.shape[1:]))
        left, right = a.read(where).ravel(), b.read(where).ravel()
        inside = (left > 0) | (right > 0)
        both = np.unique(left[inside].astype(np.uint64) << np.uint64(32) | right[inside].astype(np.uint64))
        found = np.stack([both >> np.uint64(32), both & np.uint64(2**32 - 1)], axis=1)
        pairs = np.unique(np.concatenate([pairs, found]), axis=0)
    if not (len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) and pairs.all()):
        sys.exit(f"{first} and {second} hold other objects")
    return len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for the volume and all results")
    parser.add_argument("--shape", default="512,1024,1024")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out")
    parser.add_argument("--way", choices=("mitoscale", "dask-image", "cc3d"), help="run this way alone, in this process")
    arguments = parser.parse_args()
    source, labels = f"{arguments.folder}/volume.zarr/0", f"{arguments.folder}/{arguments.way}.zarr"
    run = f"{arguments.folder}/run"
    if arguments.way:
        ways = {
            "mitoscale": lambda: run_mitoscale(run, arguments.workers),
            "cc3d": lambda: run_cc3d(source, labels),
            "dask-image": lambda: run_dask_image(source, labels, arguments.workers),
        }
        print(json.dumps({name: round(seconds, 2) for name, seconds in ways[arguments.way]().items()}))
        return
    z, y, x = map(int, arguments.shape.split(","))
    arguments.folder.mkdir(parents=True)
    write_volume(f"{arguments.folder}/volume.zarr", (z, y, x), BLOCK)
    result: dict[str, Any] = {"shape": [z, y, x], "block": list(BLOCK), "workers": arguments.workers}
    detected(f"{arguments.folder}/volume.zarr", run, arguments.workers)
    for way in ("mitoscale", "cc3d", "dask-image"):
        command = [sys.executable, __file__, str(arguments.folder), "--workers", str(arguments.workers), "--way", way]
        measured = watched(command)
        result[way] = {**json.loads(measured.pop("output").splitlines()[-1]), **measured}
        if way != "mitoscale":
            result["objects"] = same_objects(RunFolder(run).labels + "/0", f"{arguments.folder}/{way}.zarr")
    ours, peer, memory_bound = result["mitoscale"], result["dask-image"], result["cc3d"]
    result |= {
        "times_faster_than_dask_image": round(peer["seconds"] / ours["seconds"], 2),
        "times_less_cpu_than_dask_image": round(peer["cpu"] / ours["cpu"], 2),
        "times_less_memory_than_dask_image": round(peer["peak_gib"] / ours["peak_gib"], 2),
        "times_the_seconds_of_cc3d": round(ours["seconds"] / memory_bound["seconds"], 2),
        "times_the_seconds_of_cc3d_in_memory": round(ours["seconds"] / memory_bound["seconds_in_memory"], 2),
        "times_the_cpu_of_cc3d": round(ours["cpu"] / memory_bound["cpu"], 2),
        "times_the_memory_of_cc3d": round(ours["peak_gib"] / memory_bound["peak_gib"], 2),
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
