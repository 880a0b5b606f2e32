"""What the client does alone, between tasks: merge, seam report and final labels, and the ends of detect, relabel and measure.

Used by ``scale.py --way ends``. The tables are made up, as many rows as a dense tissue has, and lie as tasks leave them; what is
timed are the product's own ``prepare`` of relabel and ``finish`` of each stage.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.grid import SUPER_BLOCK, Block, Face
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.plan import RunPlan
from mitoscale.core.result import BlockResult
from mitoscale.core.settings import ConvertSettings, RunSettings
from mitoscale.core.volume import VolumeSpec
from mitoscale.ops.boundaries import boundaries
from mitoscale.ops.global_ids import pack
from mitoscale.ops.objects import partial_objects
from mitoscale.stages.detect import Detect
from mitoscale.stages.measure import Measure
from mitoscale.stages.relabel import Relabel
from mitoscale.stages.stitch import Stitch
from mitoscale.stages.work_tables import final_tables, tables_of
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.table_file import TaskTables
from nothing import CORE

FRAGMENTS = 20
"""Of a block; four of them cross each face."""

CROSSING = 4

DETECTIONS = 60
"""Of a block."""

APART = 100.0
"""Voxels between two."""


def plan_of(folder: str, blocks: int) -> RunPlan:
    """A cube of at least so many blocks."""
    edge = next(n for n in range(1, blocks + 1) if n**3 >= blocks)
    shape = (CORE[0] * edge, CORE[1] * edge, CORE[2] * edge)
    convert = ConvertSettings(
        source="none", fingerprint="0", spacing=(5.0, 5.0, 5.0), core=CORE, chunks=CORE, region=Region.of_shape(shape)
    )
    spec = VolumeSpec(shape=shape, dtype="uint8", spacing=(5.0, 5.0, 5.0), chunks=CORE, shards=CORE, factors=((1, 1, 1),))
    files = RunFolder(folder)
    return RunPlan(run=folder, image=f"{files.volume}/0", labels=files.labels, spec=spec, settings=RunSettings(convert=convert))


def block_tables(block: Block) -> TaskTables:
    """What segment leaves of a block."""
    local = np.arange(1, FRAGMENTS + 1, dtype=np.uint32)
    pairs = _contacts(local[:CROSSING], local[1 : CROSSING + 1])
    fragments = {
        "local": local,
        "core_voxels": np.full(FRAGMENTS, 10**6),
        "own_voxels": np.full(FRAGMENTS, 10**5),
        "changed_voxels": np.full(FRAGMENTS, 10**5),
        "score_sum": np.full(FRAGMENTS, 0.5),
    }
    planes = {**pairs, "v": np.zeros(CROSSING, np.int64), "u": np.zeros(CROSSING, np.int64), "axis": np.zeros(CROSSING, np.int64)}
    touching = {"a": local[:2], "b": local[2:4]}
    return TaskTables(tables={"fragments": fragments, "touching": touching, "planes": planes})


def face_tables(plan: RunPlan, face: Face) -> TaskTables:
    """What stitch leaves of a face: each fragment that crosses goes on in the one of the same number; one join is doubtful."""
    first = 1 + CROSSING * face.axis
    local = np.arange(first, first + CROSSING, dtype=np.uint32)
    place = {axis: np.full(CROSSING, start) for axis, start in zip("zyx", face.high.core.start, strict=True)}
    strength = np.array([0.9, 0.8, 0.7, 0.45], np.float32)
    edges = {
        "low": pack(plan.grid.number(face.low.index), local),
        "high": pack(plan.grid.number(face.high.index), local),
        "strength": strength,
        "accepted": strength > 0.5,
        **place,
    }
    return TaskTables(tables={"edges": edges, "contacts": {**_contacts(local, local), **place}})


def _contacts(before: np.ndarray, behind: np.ndarray) -> dict[str, np.ndarray]:
    strength = np.full(len(before), 0.8, np.float32)
    return {"before": before, "behind": behind, "strength": strength, "mutual": np.ones(len(before), bool)}


def ends(folder: str, blocks: int) -> dict[str, Any]:
    """Time and memory of both, in this process.

    Parameters
    ----------
    folder : str
        For the run.
    blocks : int
        At least so many.
    """
    plan = plan_of(folder, blocks)
    token, ledger = plan.settings.token("segment"), Ledger(RunFolder(folder).ledger("segment"))
    segmented, stitched = tables_of(plan, "segment"), tables_of(plan, "stitch")
    for corner, part in zip(plan.grid.super_block_corners(), plan.grid.super_blocks(SUPER_BLOCK), strict=True):
        segmented.write_all(corner, {block.name: block_tables(block) for block in part})
        faces = [face for block in part for face in plan.grid.faces_above(block)]
        stitched.write_all(corner, {face.name: face_tables(plan, face) for face in faces})
        for block in part:
            ledger.append(BlockResult(name=block.name, checksum="0" * 32, counts={"fragments": FRAGMENTS}), token=token)
    ledger.close()
    done = {face.name for face in plan.grid.faces()}
    count = len(plan.grid)
    result: dict[str, Any] = {"blocks": count, "faces": len(done), "fragments_a_block": FRAGMENTS}
    for name, work in (
        ("stitch_finish", lambda: Stitch(plan=plan).finish(done, {})),
        ("relabel_prepare", lambda: Relabel(plan=plan).prepare(fresh=True)),
    ):
        result |= _spent(name, count, work)
    result["ms_a_block"] = round(result["stitch_finish_ms_a_block"] + result["relabel_prepare_ms_a_block"], 3)
    return {**result, **finishes(plan)}


def finishes(plan: RunPlan) -> dict[str, Any]:
    """Time and memory of the ends of detect, relabel and measure.

    Parameters
    ----------
    plan : RunPlan
        Whose labels are prepared.
    """
    detected, measured = tables_of(plan, "detect"), tables_of(plan, "measure")
    for corner, part in zip(plan.grid.super_block_corners(), plan.grid.super_blocks(SUPER_BLOCK), strict=True):
        detected.write_all(corner, {block.name: detections(block) for block in part})
        final = {name: found.tables["fragments"]["label"] for name, found in final_tables(plan).read_all(corner)}
        measured.write_all(corner, {name: sums(label) for name, label in final.items()})
    done = {block.name for block in plan.grid.blocks()}
    grey = VolumeGrey(normalisation=Normalisation(low=0, high=1), least=0, most=1)
    ended: dict[str, Any] = {"detections_a_block": DETECTIONS, "finish_ms_a_block": 0.0}
    for stage in (Detect(plan=plan, grey=grey), Relabel(plan=plan), Measure(plan=plan, grey=grey)):
        ended |= _spent(f"{stage.name}_finish", len(plan.grid), partial(stage.finish, done, {}))
        ended["finish_ms_a_block"] = round(ended["finish_ms_a_block"] + ended[f"{stage.name}_finish_ms_a_block"], 3)
    return ended


def detections(block: Block) -> TaskTables:
    """What detect leaves of a block: detections that are all different ones."""
    _, y, x = (start * APART for start in block.core.start)
    number = np.arange(DETECTIONS)
    found = {
        "z": block.core.start[0] + number % CORE[0],
        "y": y + APART * (number % CORE[1] + 0.5),
        "x": x + APART * (number // CORE[1] + 0.5),
        "score": np.full(DETECTIONS, 0.9, np.float32),
        "area": np.full(DETECTIONS, 500),
    }
    return TaskTables(tables={"detections": found})


def sums(label: np.ndarray) -> TaskTables:
    """What measure leaves of a block: sums of its fragments' objects, each beside background and the next.

    Parameters
    ----------
    label : (N,) uint64
        Final labels of its fragments.
    """
    own = np.unique(label[label > 0])
    row = own[None, None, :]
    core = Region.of_shape(row.shape)
    grey = np.ones(row.shape, np.uint8)
    fragments = {"label": own, **{name: np.ones(len(own)) for name in ("own_voxels", "changed_voxels", "score_sum")}}
    objects = partial_objects(row, grey, grey, fragments, core=core)
    return TaskTables(tables={"sums": objects, "boundaries": boundaries(row, core=core, read=core)})


def _spent(name: str, blocks: int, work: Callable[[], object]) -> dict[str, Any]:
    """Processor time and growth of the peak memory for each block, and seconds."""
    before, began, spent = _peak(), time.perf_counter(), time.process_time()
    work()
    return {
        f"{name}_ms_a_block": round(1e3 * (time.process_time() - spent) / blocks, 3),
        f"{name}_wall_seconds": round(time.perf_counter() - began, 1),
        f"{name}_growth_bytes_a_block": round((_peak() - before) / blocks),
    }


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
