"""``mitoscale convert`` beside the usual Dask recipe, ngff-zarr, and the least that must be done: read pages, write shards.

    python benchmarks/convert.py --gib 0.75 --scratch /dev/shm --out benchmarks/results/convert.json
    python benchmarks/convert.py --gib 4 --ngff-zarr VENV/bin/python --out benchmarks/results/convert.json     # with the peer

Each way in a process of its own, one after another in each round, the first one another in each round; the volume is ``epfl``
(or ``--image``) repeated, as one uncompressed multi-page TIFF. Counted is the work alone: starting Python, imports and the start
of workers are left out (``mitoscale`` counts its whole stage: volume, pyramid, grey statistics, ledger). Ratios are medians over
the rounds of what the other takes over what mitoscale takes in the same round: above 1 mitoscale is faster. ``processor`` seconds
of all processes of a way are what other work on the machine disturbs least. Memory is the largest sum of resident memory of all
processes of a way. ngff-zarr needs an environment of its own (``pip install ngff-zarr tifffile imagecodecs``).

Ways: ``mitoscale``; ``dask`` (``tifffile``'s ``aszarr``, ``rechunk``, ``to_zarr``: one level, no shards, no statistics);
``ngff-zarr`` (its pyramid, its defaults); ``limit`` (the pages read and whole shards written by tensorstore, in as many processes).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import tifffile

from process_tree import measure

WAYS = ("mitoscale", "dask", "limit", "ngff-zarr")
CHUNK = (32, 128, 128)
"""What ``mitoscale`` stores, too."""

_NGFF = """
import sys, time
import dask.array as da, tifffile, zarr
import ngff_zarr as nz
if __name__ == "__main__":
    began, processor = time.perf_counter(), time.process_time()
    pages = da.from_zarr(zarr.open(tifffile.imread(sys.argv[1], aszarr=True), mode="r"))
    image = nz.to_ngff_image(pages, dims=("z", "y", "x"), scale=dict(z=5.0, y=5.0, x=5.0))
    nz.to_ngff_zarr(sys.argv[2], nz.to_multiscales(image))
    print(time.perf_counter() - began, time.process_time() - processor)
"""


def make_stack(path: str, gib: float, image: str) -> tuple[int, int, int]:
    """A stack of about so many GiB, of a smaller one mirrored again and again; returns its shape."""
    one = tifffile.imread(image)
    depth = max(1, round(gib * 2**30 / 2048**2 / one.itemsize))
    plane = np.pad(one, ((0, 0), (0, 2048 - one.shape[1]), (0, 2048 - one.shape[2])), mode="symmetric")
    turn = np.concatenate([np.arange(len(one)), np.arange(len(one))[::-1]])
    pages = (plane[turn[z % len(turn)]] for z in range(depth))
    tifffile.imwrite(path, pages, shape=(depth, 2048, 2048), dtype=one.dtype, bigtiff=True, photometric="minisblack")
    return depth, 2048, 2048


Took = tuple[float, float]
"""Seconds of the wall clock, and of all processors."""


def mitoscale(source: str, out: str, workers: int) -> Took:
    """The stage convert on a local cluster."""
    import zarr.codecs  # noqa: F401 - before the clock starts, as with the others

    from mitoscale import pipeline
    from mitoscale.cluster.clusters import ClusterSettings, start
    from mitoscale.core.request import RunRequest
    from mitoscale.stages.source import open_source

    volume = open_source(source, (5.0, 5.0, 5.0))
    run = pipeline.start(pipeline.make_plan(volume, out, pipeline.settings_for(volume, RunRequest(), 1)))
    with start(ClusterSettings(workers=workers)) as cluster:
        cluster.client.wait_for_workers(workers)
        before = time.process_time() + sum(cluster.client.run(_processor_seconds).values())
        (outcome,) = pipeline.execute(run, ["convert"], cluster.executor, pipeline.Observer())
        after = time.process_time() + sum(cluster.client.run(_processor_seconds).values())
    assert outcome.computed == outcome.tasks and not outcome.quarantined
    return outcome.seconds, after - before


def _processor_seconds() -> float:
    import mitoscale.stages.convert  # noqa: F401 - before the clock starts

    return time.process_time()


def dask(source: str, out: str, workers: int) -> Took:
    """As in Dask's and tifffile's documentation, with as many threads."""
    import dask as scheduler
    import dask.array as da
    import zarr

    began, processor = time.perf_counter(), time.process_time()
    pages = da.from_zarr(zarr.open(tifffile.imread(source, aszarr=True), mode="r"))
    assert pages.ndim == 3, "all pages, not the first one alone"
    stored = pages.rechunk(CHUNK).to_zarr(out, compute=False)
    scheduler.compute(stored, scheduler="threads", num_workers=workers)
    return time.perf_counter() - began, time.process_time() - processor


def limit(source: str, out: str, workers: int) -> Took:
    """Read the pages that a row of shards needs, write it: nothing else."""
    import multiprocessing

    from mitoscale.storage.creation import create_array

    core = (64, 512, 512)
    with tifffile.TiffFile(source) as file:
        whole = (len(file.pages), *file.pages[0].shape[-2:])
    create_array(out, shape=whole, dtype="uint8", chunks=CHUNK, shards=core)
    context = multiprocessing.get_context("spawn")
    barrier, spent = context.Barrier(workers + 1), context.SimpleQueue()
    processes = [context.Process(target=_copy, args=(source, out, whole, n, workers, barrier, spent)) for n in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    began = time.perf_counter()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    return time.perf_counter() - began, sum(spent.get() for _ in processes)


def _copy(source: str, out: str, whole: tuple[int, int, int], number: int, workers: int, barrier: Any, spent: Any) -> None:
    from mitoscale.core.geometry import Region
    from mitoscale.core.grid import BlockGrid
    from mitoscale.storage.arrays import open_array
    from mitoscale.storage.tiff import open_tiff

    row = (64, 512, -(-whole[2] // 512) * 512)
    blocks = list(BlockGrid(region=Region.of_shape(whole), core_shape=row, margin=(0, 0, 0)).blocks())
    stack, array = open_tiff(source), open_array(out)
    barrier.wait()
    before = time.process_time()
    for block in blocks[number::workers]:
        array.write(block.core, stack.read(block.core))
    spent.put(time.process_time() - before)


def measured(way: str, source: str, out: str, workers: int, ngff: str) -> dict[str, float]:
    """Run one way in a process of its own; its seconds and its largest memory."""
    own = [sys.executable, __file__, "--way", way, "--image", source, "--out", out, "--workers", str(workers)]
    command = own if way != "ngff-zarr" else [ngff, "-c", _NGFF, source, out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": ""} if way == "ngff-zarr" else {})
    took = measure(command, environment)
    shutil.rmtree(out, ignore_errors=True)
    wall, processor = map(float, took.output.split()[-2:])
    return {"seconds": round(wall, 2), "processor": round(processor, 2), "peak_gib": round(took.peak_bytes / 2**30, 3)}


def _ratios(found: dict[str, list[dict[str, float]]], what: str) -> dict[str, float]:
    """Of each other way over mitoscale."""
    return {
        way: round(median(other[what] / own[what] for other, own in zip(found[way], found["mitoscale"], strict=True)), 3)
        for way in found
        if way != "mitoscale"
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=0.75)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", help="folder for source and results, such as /dev/shm or a disk")
    parser.add_argument("--image", default=os.path.join(os.environ.get("MITOSCALE_TEST_DATA", "."), "epfl", "training.tif"))
    parser.add_argument("--ngff-zarr", default="", help="Python of an environment that has ngff-zarr")
    parser.add_argument("--out", help="results of other sizes in it stay")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        took = {"mitoscale": mitoscale, "dask": dask, "limit": limit}[arguments.way]
        print(*took(arguments.image, arguments.out, arguments.workers))
        return
    ways = [way for way in WAYS if way != "ngff-zarr" or arguments.ngff_zarr]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="mitoscale-convert-") as folder:
        source = str(Path(folder, "stack.tif"))
        shape = make_stack(source, arguments.gib, arguments.image)
        for number in range(arguments.rounds):
            for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                found[way].append(measured(way, source, f"{folder}/out", arguments.workers, arguments.ngff_zarr))
                print(number, way, found[way][-1], flush=True)
    result = {
        "claim": "what the other takes over what mitoscale takes, medians over the rounds; above 1 mitoscale is faster",
        "shape": shape,
        "workers": arguments.workers,
        "rounds": arguments.rounds,
        "ratio_of_seconds": _ratios(found, "seconds"),
        "ratio_of_processor_seconds": _ratios(found, "processor"),
        "median_seconds": {way: round(median(one["seconds"] for one in found[way]), 2) for way in ways},
        "median_processor_seconds": {way: round(median(one["processor"] for one in found[way]), 2) for way in ways},
        "peak_gib": {way: max(one["peak_gib"] for one in found[way]) for way in ways},
        "seconds": {way: [one["seconds"] for one in found[way]] for way in ways},
        "machine": f"{psutil.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end",
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        out = Path(arguments.out)
        results = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps({**results, f"{arguments.gib:g} GiB": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
