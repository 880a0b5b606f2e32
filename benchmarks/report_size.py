"""The report of a run with many objects: seconds, memory and bytes.

    python benchmarks/report_size.py --objects 1000 100000 1000000 --out report_size.json

The run folder is drawn, not computed: balls on a lattice as dense as mitochondria in epfl (one in 2.9 million voxels), so that
10^5 of them lie in 0.3 TB. Its tables are as long as theirs would be (a row an object, a detection a profile, 2 % of the
detections again in the seam report, a ledger line a task), image and labels are written only where the report looks. The report
is made by the product's own stage in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.plan import RunPlan, chunks_of, pyramid_factors
from mitoscale.core.result import BlockResult
from mitoscale.core.settings import STAGES, ConvertSettings, RunSettings
from mitoscale.core.volume import VolumeSpec
from mitoscale.ops.boundaries import boundaries, merge_boundaries
from mitoscale.ops.object_table import finish_objects
from mitoscale.ops.objects import merge_objects, partial_objects
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.state import inputs_digest
from mitoscale.report.build import Report
from mitoscale.stages.grey_statistics import keep, read_grey
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.ome import create_image, create_labels
from mitoscale.storage.run_json import read_plan, write_plan
from mitoscale.storage.tables import Columns, appending, write_table


class Lattice(NamedTuple):
    """Where the balls lie."""

    pitch: int = 142
    """Voxels between their middles."""
    radius: int = 30
    """Of a ball, in voxels."""


LATTICE = Lattice()
CORE = (64, 512, 512)
SPACING = (5.0, 5.0, 5.0)


def drawn(folder: str, objects: int, lattice: Lattice = LATTICE, *, everywhere: bool = False) -> RunPlan:
    """Make the run folder, with voxels where the report looks or everywhere."""
    pitch = lattice.pitch
    side = next(n for n in range(1, objects + 1) if n**3 >= objects)
    shape = (side * pitch,) * 3
    chunks, region = chunks_of(CORE), Region.of_shape(shape)
    convert = ConvertSettings(source="drawn", fingerprint="0", spacing=SPACING, core=CORE, chunks=chunks, region=region)
    factors = pyramid_factors(shape, SPACING, CORE)
    spec = VolumeSpec(shape=shape, dtype="uint8", spacing=SPACING, chunks=chunks, shards=CORE, factors=factors)
    files = RunFolder(folder)
    settings = RunSettings(convert=convert)
    plan = RunPlan(run=folder, image=f"{files.volume}/0", labels=files.labels, spec=spec, settings=settings)
    Path(files.objects).parent.mkdir(parents=True)
    write_plan(files, plan)
    keep(plan, VolumeGrey(normalisation=Normalisation(low=0.0, high=255.0), least=0.0, most=255.0))
    create_image(files.volume, spec, name="image")
    create_labels(files.volume, Path(files.labels).name, spec.model_copy(update={"dtype": "uint32"}))
    middles = np.stack(np.meshgrid(*[np.arange(side) * pitch + pitch // 2] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:objects]
    shown = looked_at(region)
    write_table(files.objects, object_rows(middles, shown, region, lattice))
    detections = write_detections(files.detections, middles, lattice.radius)
    write_table(files.edges_table, edge_rows(max(1, detections // 50), shape))
    write_ledgers(plan)
    write_voxels(plan, middles, region if everywhere else shown, lattice.radius)
    return plan


def looked_at(region: Region) -> Region:
    """The middle, where the report's pictures are taken; the objects in doubt most are put there too."""
    start = [max(0, (n - most) // 2) for n, most in zip(region.shape, (256, 1024, 1024), strict=True)]
    stop = [a + min(n, most) for a, n, most in zip(start, region.shape, (256, 1024, 1024), strict=True)]
    return Region(start=tuple(start), stop=tuple(stop))


def object_rows(middles: np.ndarray, shown: Region, region: Region, lattice: Lattice) -> Columns:
    """The table of objects: a measured ball, at every place, with drawn sizes and signals."""
    pitch, radius = lattice
    ball = Region.of_shape((pitch,) * 3)
    labels = ball_labels(np.array([[pitch // 2] * 3]), np.ones(1, np.uint32), ball, radius)
    sums = merge_objects([partial_objects(labels, core=ball)])
    one = finish_objects(sums, merge_boundaries([boundaries(labels, core=ball, read=ball)]), SPACING, region)
    rng, count = np.random.default_rng(1), len(middles)
    table = {name: np.repeat(values[:1], count) for name, values in one.items()}
    table["label"] = np.arange(1, count + 1, dtype=np.uint64)
    for i, axis in enumerate("zyx"):
        moved = middles[:, i] - pitch // 2
        for name, factor in ((f"centroid_{axis}", 1), (f"bbox_{axis}0", 1), (f"bbox_{axis}1", 1)):
            table[name] = table[name] + moved
            table[f"{name}_nm"] = table[f"{name}_nm"] + moved * SPACING[i] * factor
    table["volume_nm3"] = table["volume_nm3"] * rng.lognormal(0, 0.6, count)
    inside = ((middles - radius >= shown.start) & (middles + radius < shown.stop)).all(axis=1)
    unsure = inside & (rng.random(count) < 0.5)
    table["mean_foreground"] = np.where(unsure, rng.uniform(0.5, 0.6, count), rng.uniform(0.8, 1, count))
    table["detector_agreement"] = rng.uniform(0.9, 1, count)
    table["segmenter_score"] = np.where(rng.random(count) < 0.3, rng.uniform(0.8, 0.95, count), np.nan)
    return table


def write_detections(path: str, middles: np.ndarray, radius: int) -> int:
    """The table of detections: one a ball and slice, a layer of the lattice at a time."""
    rng, total = np.random.default_rng(2), 0
    with appending(path) as append:
        for z in np.unique(middles[:, 0]):
            layer = middles[middles[:, 0] == z]
            zs = np.arange(z - radius, z + radius + 1)
            y, x = (np.tile(layer[:, i], len(zs)) + rng.normal(0, 3, len(layer) * len(zs)) for i in (1, 2))
            score = rng.beta(8, 1, len(y)).astype(np.float32) / 2 + 0.5
            append({"z": np.repeat(zs, len(layer)), "y": y, "x": x, "score": score, "area": np.full(len(y), 900)})
            total += len(y)
    return total


def edge_rows(count: int, shape: tuple[int, ...]) -> Columns:
    """The seam report."""
    rng = np.random.default_rng(3)
    doubt = np.sort(rng.random(count).astype(np.float32))[::-1]
    return {
        "kind": np.array(["cut", "fused", "doubtful"])[rng.integers(0, 3, count)],
        "face": np.full(count, "z000_y001_x000+x"),
        **{axis: rng.integers(0, n, count) for axis, n in zip("zyx", shape, strict=True)},
        "doubt": doubt,
        "strength": 1 - doubt,
        "accepted": rng.random(count) < 0.5,
        **{name: rng.integers(1, 2**40, count).astype(np.uint64) for name in ("low", "high")},
        "neighbour": np.full(count, ""),
    }


def write_ledgers(plan: RunPlan) -> None:
    """A line a task, as the stages write them."""
    counts = {"voxels": 1.6e7, "network_pixels": 3e7, "prompts": 20.0, "profiles": 60.0, "changed_voxels": 1e3, "mask_voxels": 1e5}
    seconds = {"read": 0.1, "compute": 20.0, "write": 0.2}
    for stage in STAGES[:-1]:
        token = plan.settings.token(stage)
        ledger = Ledger(RunFolder(plan.run).ledger(stage))
        for key in plan.grid.blocks():
            result = BlockResult(name=key.name, checksum="0" * 32, counts=counts, seconds=seconds)
            ledger.append(result, token=token, inputs="0" * 16)
        closing = {**counts, "objects": 1.0, "largest_dropped_nm3": 0.0, "dropped": 0.0}
        inputs = inputs_digest(Run(plan=plan), stage) or ""
        ledger.append(BlockResult(name="finished", counts=closing, seconds={"wall": 100.0}), token=token, inputs=inputs)
        ledger.close()


def write_voxels(plan: RunPlan, middles: np.ndarray, shown: Region, radius: int) -> None:
    """Image and labels of the blocks that a region meets."""
    image, labels = open_array(plan.image), open_array(f"{plan.labels}/0")
    rng = np.random.default_rng(4)
    for index in plan.grid.meeting(shown):
        core = plan.grid.block(index).core
        near = ((middles + radius >= core.start) & (middles - radius < core.stop)).all(axis=1)
        ids = ball_labels(middles[near], np.flatnonzero(near).astype(np.uint32) + 1, core, radius)
        noise = rng.integers(120, 200, core.shape, dtype=np.uint8)
        image.write(core, np.where(ids > 0, noise // 2, noise))
        labels.write(core, ids)


def ball_labels(middles: np.ndarray, labels: np.ndarray, core: Region, radius: int) -> np.ndarray:
    """(Z, Y, X) uint32: balls in a block."""
    found = np.zeros(core.shape, np.uint32)
    for middle, label in zip(middles, labels, strict=True):
        low = [max(a, int(m) - radius) for a, m in zip(core.start, middle, strict=True)]
        high = [min(b, int(m) + radius + 1) for b, m in zip(core.stop, middle, strict=True)]
        if all(a < b for a, b in zip(low, high, strict=True)):
            part = Region(start=tuple(low), stop=tuple(high))
            offsets = np.ogrid[part.slices]
            inside = sum((o - int(m)) ** 2 for o, m in zip(offsets, middle, strict=True)) <= radius**2
            found[part.within(core)][inside] = label
    return found


def measured(run: str) -> dict[str, Any]:
    """Make the report here; seconds, peak memory before and after, and bytes of the page."""
    plan = read_plan(RunFolder(run))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    Report(plan=plan, grey=read_grey(plan)).finish((), {})
    return {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "imports_mib": round(before / 1024),
        "report_mb": round(Path(RunFolder(run).report).stat().st_size / 1e6, 2),
        "tables_mb": round(sum(file.stat().st_size for file in Path(run, "tables").iterdir()) / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--folder", help="Where the run folders are made and stay (default: made and removed).")
    parser.add_argument("--out", metavar="FILE")
    parser.add_argument("--draw", metavar="RUN", help=argparse.SUPPRESS)
    parser.add_argument("--report", metavar="RUN", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.draw:
        drawn(arguments.draw, arguments.objects[0])
        return
    if arguments.report:
        print(json.dumps(measured(arguments.report)))
        return
    results = {}
    with tempfile.TemporaryDirectory(prefix="report-size-") as scratch:
        for objects in arguments.objects:
            run = str(Path(arguments.folder or scratch, f"run{objects}"))
            # Each in a process of its own: a process's peak memory counts what the one that started it had.
            subprocess.run([sys.executable, __file__, "--objects", str(objects), "--draw", run], check=True)
            done = subprocess.run([sys.executable, __file__, "--report", run], capture_output=True, text=True, check=True)
            plan = read_plan(RunFolder(run))
            shape = {"blocks": len(plan.grid), "terabytes": round(plan.region.size / 1e12, 3)}
            results[str(objects)] = {**shape, **json.loads(done.stdout)}
            print(objects, results[str(objects)], flush=True)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
