"""How many entries each folder of a run gets, for a run of a million blocks: from where things would lie, without any data."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import zarr

from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import BlockGrid, block_name
from mitoscale.core.plan import RunPlan, chunks_of, pyramid_factors
from mitoscale.core.settings import ConvertSettings, RunSettings
from mitoscale.core.super_blocks import faces_from, indices_in
from mitoscale.core.volume import VolumeSpec
from mitoscale.evaluation.tasks import tables_in
from mitoscale.stages.convert import Convert
from mitoscale.stages.fragment_slots import create_slots
from mitoscale.stages.merge import MergedLabels
from mitoscale.stages.padding import create_cells
from mitoscale.stages.work_tables import STAGES_WITH_TABLES, final_tables, label_tables, tables_of
from mitoscale.storage.block_tables import BlockTables
from mitoscale.storage.layout import LABELS, RunFolder
from mitoscale.storage.ome import create_labels

MOST = 10_000
"""Entries of a folder that any file system lists at once."""

CORE = (64, 512, 512)
SPACING = (5.0, 5.0, 5.0)


def plan_of(run: Path, counts: Triple) -> RunPlan:
    """The plan of a run of so many blocks (z, y, x)."""
    shape = tuple(n * c for n, c in zip(counts, CORE, strict=True))
    chunks = chunks_of(CORE)
    convert = ConvertSettings(
        source="none", fingerprint="0", spacing=SPACING, core=CORE, chunks=chunks, region=Region.of_shape(shape)
    )
    factors = pyramid_factors(shape, SPACING, CORE)
    spec = VolumeSpec(shape=shape, dtype="uint8", spacing=SPACING, chunks=chunks, shards=CORE, factors=factors)
    files = RunFolder(str(run))
    return RunPlan(run=str(run), image=f"{files.volume}/0", labels=files.labels, spec=spec, settings=RunSettings(convert=convert))


def in_shards(array: Path) -> int:
    """Most entries of a folder below a Zarr array: its shards lie at ``c/z/y/x``."""
    opened = zarr.open_array(array, mode="r")
    assert opened.metadata.chunk_key_encoding.encode_chunk_key((1, 2, 3)) == "c/1/2/3"
    return max(-(-n // s) for n, s in zip(opened.shape, opened.shards, strict=True))


def check_tables(tables: BlockTables, grid: BlockGrid, *, faces: bool) -> None:
    """No folder gets too many, while tasks write their own files and once they are gathered."""
    entries: Counter[Path] = Counter()
    known: set[Path] = set()
    corners = list(grid.super_block_corners())
    for corner in corners:
        path = Path(tables.gathered(corner))
        assert path not in known
        own = path.with_suffix("")  # the folder of its tasks' files lies beside
        for new in (path, own, *path.parents):
            if new not in known:
                known.add(new)
                entries[new.parent] += 1
    assert max(entries.values()) <= MOST
    for corner in (corners[0], corners[len(corners) // 2], corners[-1]):
        names = [face.name for face in faces_from(grid, corner)] if faces else map(block_name, indices_in(grid, corner))
        files = {Path(tables.single(name)) for name in names}
        assert {file.parent for file in files} == {Path(tables.gathered(corner)).with_suffix("")} and len(files) <= MOST


@pytest.mark.parametrize("counts", [(100, 100, 100), (1, 1000, 1000), (1000, 1000, 1), (10_000, 10, 10), (10, 10, 10_000)])
def test_no_folder_of_a_run_of_a_million_blocks_gets_more_than_ten_thousand_entries(counts: Triple, tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "run", counts)
    assert len(plan.grid) == math.prod(counts) == 10**6
    for stage in STAGES_WITH_TABLES:
        grid = plan.convert_grid if stage == "convert" else plan.grid
        check_tables(tables_of(plan, stage), grid, faces=stage == "stitch")
    for tables in (label_tables(plan), final_tables(plan), tables_in(str(tmp_path / "evaluate"), plan.grid)):
        check_tables(tables, plan.grid, faces=False)
    labels = MergedLabels(f"{plan.run}/work/merge")
    parents = {path for corner in plan.grid.super_block_corners() for path in Path(labels.path(corner)).parents}
    paths = parents | {Path(labels.path(corner)) for corner in plan.grid.super_block_corners()}
    assert max(Counter(path.parent for path in paths).values()) <= MOST
    folder = RunFolder(plan.run)
    Convert(plan=plan).prepare(fresh=True)
    create_labels(folder.volume, LABELS, plan.spec.model_copy(update={"dtype": "uint64"}))
    create_slots(plan)
    create_cells(plan)
    arrays = [path.parent for path in Path(plan.run).rglob("zarr.json") if '"array"' in path.read_text()[:2000]]
    assert len(arrays) == 2 * len(plan.spec.factors) + 3  # fragments, padding, and what convert keeps for level 1 meanwhile
    assert max(map(in_shards, arrays)) <= MOST  # the foreground has the shards of the image
    assert plan.kept_file_count <= 3 * len(plan.grid) and plan.file_count <= 8 * len(plan.grid)
