"""Volumes that are mostly missing chunks, in an S3 server on loopback: memory and requests as they grow.

    python benchmarks/virtual_volume.py --edges 1024,2048,4096 --block 128,512,512 --out benchmarks/results/virtual-volume.json

The source is a plain Zarr array of uint8 in chunks of 128 along each edge. Of up to 32 x 32 chunks along y and x one holds
tissue (a phantom, mirrored from chunk to chunk along z); the others are missing and read as padding. Whole runs with a detector
of dark voxels and the watershed go from the server to the server. 4096 along each edge are 64 GiB. Every request is counted at
the server, by stage and by what it asks for; ``missing`` ones ask for what is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np
import tensorstore as ts

from mitoscale.ops.phantom import make_phantom
from mitoscale.pipeline import load
from mitoscale.pipeline.status import progress
from mitoscale.storage.arrays import create_array
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.places import kvstore
from process_tree import measure
from s3_server import S3Server

CHUNK = 128
EVERY = 32
"""Along y and x, of so many chunks one holds tissue; in a volume of fewer there is one."""
LEAST_FREE = 15 * 2**30
"""Bytes of disk below which no larger volume is begun."""


class CountingServer(S3Server):
    """Keeps when each request came, its method, what it was for, and whether that was there."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str, str, bool]] = []
        super().__init__()

    def _answer(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        began, name = time.time(), unquote(request["PATH_INFO"]).lstrip("/")
        method = request["REQUEST_METHOD"]
        query = parse_qs(request.get("QUERY_STRING", ""), True)
        if method == "GET" and "list-type" in query:
            method, name = "LIST", f"{name.rstrip('/')}/{query.get('prefix', query.get('start-after', ['']))[0]}"

        def noted(status: str, *rest: Any) -> Any:
            self.seen.append((began, method, what(name), status.startswith("404")))
            return start(status, *rest)

        return super()._answer(request, noted)


def what(name: str) -> str:
    """What an object is part of: a source's chunk, or an array, a folder or a file of the run.

    Parameters
    ----------
    name : str
        Bucket and key.
    """
    parts = name.split("/")[1:] or [""]
    kind = "metadata" if parts[-1].startswith((".z", "zarr.json")) else ""
    if not parts[0].startswith("run"):
        return f"source {kind or 'chunk'}".strip()
    inside = parts[1:3] if len(parts) > 1 and parts[1] == "work" else parts[1:2]
    return f"{'/'.join(inside)} {kind}".strip()


def make_source(address: str, edge: int) -> None:
    """Write the volume.

    Parameters
    ----------
    address : str
        Of the array.
    edge : int
        Voxels along each edge.
    """
    create_array(address, shape=(edge,) * 3, dtype="uint8", chunks=(CHUNK,) * 3, shards=None)
    store = ts.open({"driver": "zarr3", "kvstore": kvstore(address)}, open=True).result()
    block = make_phantom((CHUNK,) * 3, objects=24, seed=12, touching=0.0).image
    block = np.maximum(block, 1)  # 0 is the padding
    columns = range(2 * CHUNK, edge, EVERY * CHUNK)  # in the middle of a block of 512
    for z in range(0, edge, CHUNK):
        for y in columns:
            for x in columns:
                store[z : z + CHUNK, y : y + CHUNK, x : x + CHUNK].write(block).result()
        block = np.flip(block, 0)


def measured(server: CountingServer, scratch: str, edge: int, options: list[str]) -> dict[str, Any]:
    """A whole run.

    Parameters
    ----------
    server : CountingServer
        Holds source and run.
    scratch : str
        Folder of the detector.
    edge : int
        Voxels along each edge of the volume.
    options : list of str
        More of ``mitoscale run``.
    """
    source, run = f"s3://bucket/{edge}.zarr", f"s3://bucket/run{edge}"
    make_source(source, edge)
    server.seen.clear()
    command = [sys.executable, "-m", "mitoscale", "run", source, run, "--voxel-size", "10,10,10", "--segmenter", "unet", *options]
    command += ["--detector", "chaos_detector:detector", "--detector-option", f"folder={scratch}"]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    took = measure(command, {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
    seen, found = list(server.seen), progress(load(run))
    assert found.finished and not any(stage.quarantined for stage in found.stages)
    blocks = len(load(run).plan.grid)
    return {
        "gib": edge**3 / 2**30,
        "blocks": blocks,
        "block": list(load(run).plan.settings.convert.core),
        "seconds": round(took.seconds, 1),
        "processor_seconds": round(took.processor_seconds, 1),
        "peak_gib": round(took.peak_bytes / 2**30, 3),
        "peak_process_gib": round(took.peak_process_bytes / 2**30, 3),
        "stages": {stage.name: round(stage.seconds["wall"], 1) for stage in found.stages},
        "requests": len(seen),
        "requests_a_block": round(len(seen) / blocks, 2),
        "requests_a_block_by_stage": by_stage(seen, run, blocks),
    }


def by_stage(seen: list[tuple[float, str, str, bool]], run: str, blocks: int) -> dict[str, dict[str, float]]:
    """Requests a block, the most frequent first; ``between`` is before the first stage, after the last, and between them.

    Parameters
    ----------
    seen : list
        Of the server.
    run : str
        The run.
    blocks : int
        How many it has.
    """
    told = [event for event in EventLog(RunFolder(run).events).read() if event.kind in ("started", "ended")]
    counts: dict[str, Counter[str]] = {}
    for moment, method, asked, missing in seen:
        last = next((event for event in reversed(told) if event.time <= moment), None)
        stage = last.stage if last and last.kind == "started" else "between"
        counts.setdefault(stage, Counter())[f"{method} {asked}{' missing' if missing else ''}"] += 1
    result = {}
    for stage, found in counts.items():
        result[stage] = {"all": round(found.total() / blocks, 3)}
        result[stage] |= {name: round(count / blocks, 3) for name, count in found.most_common()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", default="1024,2048,4096", help="voxels along each edge of the volumes, at least 512")
    parser.add_argument("--block", help="core of a block; without it the default")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON of all sizes; those of other edges that it has are kept")
    a = parser.parse_args()
    options = ["--workers", str(a.workers), *(["--block", a.block] if a.block else [])]
    server, sizes = CountingServer(), json.loads(a.out.read_text())["sizes"] if a.out and a.out.exists() else []
    os.environ.update(server.environment)
    server.client().create_bucket(Bucket="bucket")
    with tempfile.TemporaryDirectory(prefix="virtual-") as scratch:
        Path(scratch, "faults.json").write_text("{}")
        for edge in map(int, a.edges.split(",")):
            if shutil.disk_usage(scratch).free < LEAST_FREE:
                sys.exit(f"{scratch} has less than {LEAST_FREE >> 30} GiB free: nothing larger is begun")
            found = measured(server, scratch, edge, options)
            print(json.dumps(found, indent=1), flush=True)
            sizes = sorted([*(size for size in sizes if size["gib"] != found["gib"]), found], key=lambda size: size["gib"])
            if a.out:
                a.out.write_text(json.dumps({"workers": a.workers, "sizes": sizes}, indent=2) + "\n")
    server.stop()


if __name__ == "__main__":
    main()
