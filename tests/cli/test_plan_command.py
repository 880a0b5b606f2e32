"""What ``mitoscale plan`` forecasts, and when it refuses."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Call, Finished, Stack, contents

from mitoscale.cli.planning import grown
from mitoscale.core.errors import InputError
from mitoscale.core.forecast import check, forecast, voxels_computed, voxels_of_network, voxels_read
from mitoscale.core.geometry import Region
from mitoscale.core.overhead import bundle_size, client_bytes, load_seconds
from mitoscale.core.settings import SegmentSettings
from mitoscale.pipeline import load
from mitoscale.pipeline.calibration import measured


@pytest.mark.parametrize("stage", ["convert", "detect", "segment", "relabel"])
def test_voxels_read_are_those_of_all_read_regions(stage: str, finished: Finished) -> None:
    plan = load(finished.run).plan
    for region in (plan.region, Region(start=(4, 0, 16), stop=(32, 128, 96))):
        convert = plan.settings.convert.model_copy(update={"region": region})
        part = plan.model_copy(update={"settings": plan.settings.model_copy(update={"convert": convert})})
        grid = {"convert": part.convert_grid, "detect": part.detect_grid}.get(stage, part.grid)
        reads = [block.halo if stage in ("detect", "segment") else block.core for block in grid.blocks()]
        # margins are cut at the region: on lattices that do not fit, the formula counts up to one margin more
        assert sum(r.size for r in reads) <= voxels_read(part, stage)
        if region == plan.region:
            assert sum(r.size for r in reads) == voxels_read(part, stage)


def test_slices_beyond_a_core_are_read_by_detect_and_not_computed(finished: Finished) -> None:
    plan = load(finished.run).plan
    blocks = list(plan.detect_grid.blocks())
    assert voxels_computed(plan, "detect") == sum(b.core.shape[0] * b.halo.shape[1] * b.halo.shape[2] for b in blocks)
    assert voxels_computed(plan, "detect") < voxels_read(plan, "detect")
    assert voxels_computed(plan, "segment") == voxels_read(plan, "segment")


@pytest.mark.parametrize(("segment", "cores"), [({}, True), ({"gate_nm": 30.0}, False), ({"segmenter": "lab:factory"}, False)])
def test_sam_is_asked_for_the_cores_alone(finished: Finished, segment: dict[str, object], cores: bool) -> None:
    plan = load(finished.run).plan
    settings = plan.settings.model_copy(update={"segment": SegmentSettings.model_validate(segment)})
    plan = plan.model_copy(update={"settings": settings})
    wanted = plan.region.size if cores else voxels_read(plan, "segment")
    assert voxels_of_network(plan, "segment") == wanted and plan.region.size < voxels_read(plan, "segment")
    assert voxels_of_network(plan, "detect") == voxels_computed(plan, "detect")


def test_a_finished_run_forecasts_itself(finished: Finished) -> None:
    run = load(finished.run)
    found = forecast(run.plan, measured(run), slots=1)
    assert (found.blocks, found.voxels) == (8, 32 * 128 * 128)
    stored = sum(path.stat().st_size for path in Path(finished.run).rglob("*") if path.is_file())
    assert found.stored_bytes == pytest.approx(stored)
    files = sum(path.is_file() for path in Path(finished.run).rglob("*"))
    assert 0.5 * files < found.files < 2 * files
    stages = {stage.name: stage for stage in found.stages}
    assert stages["stitch"].tasks == 12 and stages["detect"].hours > 0
    assert found.wall_hours >= math.fsum(s.hours for s in found.stages) * (1 - 1e-9)
    assert forecast(run.plan, measured(run), slots=4).wall_hours < found.wall_hours


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"worker_limit": 1e6}, "segment: a worker needs .* it has 0.0 GB.*--block"),
        ({"client_limit": 1.0}, "stitch: the merge needs .*--block"),
        ({"blocks": 10**9, "client_limit": 5e11}, "stitch: the client needs .* GB for 1000000000 blocks.*--block"),
        ({"free": 10.0}, "convert: the run needs .* 0.0 GB are free.*--into"),
    ],
)
def test_what_cannot_fit_is_told_with_stage_need_and_limit(limits: dict[str, float], says: str, finished: Finished) -> None:
    costs = replace(measured(load(finished.run)), worker_bytes=2e6)
    found = forecast(load(finished.run).plan, costs, slots=1)
    if blocks := limits.pop("blocks", 0):
        found = replace(found, blocks=int(blocks), client_bytes=client_bytes(int(blocks), int(blocks)))
    given = {"worker_limit": None, "client_limit": 1e15, "free": 1e15} | limits
    with pytest.raises(InputError, match=says):
        check(found, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(100, 100, 100), (200, 200, 250)], ids=["10^6", "10^7"])
def test_many_blocks_are_bundled_where_workers_end_tasks_faster_than_the_scheduler_sends_them(
    shape: tuple[int, int, int], finished: Finished
) -> None:
    run = load(finished.run)
    plan = grown(run.plan, tuple(n * c for n, c in zip(shape, run.plan.core, strict=True)))  # type: ignore[arg-type]
    costs = measured(run)
    few, many = (forecast(plan, costs, slots=slots) for slots in (1, 10_000))
    assert few.blocks == many.blocks == math.prod(shape)
    assert few.client_bytes == many.client_bytes == client_bytes(few.blocks, plan.grid.face_count)
    for stage in (*few.stages, *many.stages):
        assert stage.load_hours * 3600 == pytest.approx(load_seconds(stage.tasks, stage.bundle))
        assert stage.wall_hours >= stage.load_hours
    for one, other in zip(few.stages, many.stages, strict=True):
        seconds = 3600 * one.hours / one.tasks
        assert (one.bundle, other.bundle) == (bundle_size(seconds, 1), bundle_size(seconds, 10_000))
    assert few.bundle < many.bundle and few.scheduler_load < many.scheduler_load <= 1


def test_the_command_tells_the_volume_and_larger_ones(mitoscale: Call, finished: Finished) -> None:
    before = contents(finished.run)
    ended = mitoscale("plan", finished.run, "--workers", "4")
    assert ended.code == 0, ended.err
    rows = {line.split("  ")[0]: line.split() for line in ended.out.splitlines() if line}
    assert rows["this"][1] == "8" and int(rows["1 TB"][2]) > 1e6 and int(rows["100 TB"][2]) > 1e8
    assert rows["10^6 blocks"][2] == "1000000" and rows["10^7 blocks"][2] == "10000000"
    assert "scheduler s = tasks / bundle x 3.3 ms" in ended.out
    assert "seconds a voxel computed" in ended.out and "4 tasks at once" in ended.out
    assert contents(finished.run) == before
    assert "memory of a worker  not measured: give the source" in ended.out, "this process has computed none of its blocks"


def test_a_source_is_tried_on_some_blocks_and_nothing_is_left(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    options = [o for o in stack.exact() if o not in ("--workers", "1")]
    ended = mitoscale("plan", stack.image, *options, "--blocks", "1", "--into", str(tmp_path))
    assert ended.code == 0, ended.err
    assert "GB (measured)" in ended.out and "calibrated on 1 block\n" in ended.out and "0.5 Mvoxel" in ended.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", [("--segmenter", "sam"), ("--region", "0:8,0:64,0:64"), ("--mirror",)])
def test_options_say_nothing_to_a_run_that_is_there(mitoscale: Call, finished: Finished, said: tuple[str, ...]) -> None:
    ended = mitoscale("plan", finished.run, *said)
    assert ended.code == 1 and "is a run, which has settings of its own" in ended.err and len(ended.err.splitlines()) == 1


def test_a_cleaned_run_is_no_measure_of_the_disk(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    run = str(tmp_path / "copy")
    shutil.copytree(finished.run, run, ignore=shutil.ignore_patterns("work"))
    ended = mitoscale("plan", run)
    assert ended.code == 1 and "were cleaned; give the source instead" in ended.err and len(ended.err.splitlines()) == 1


def test_wrong_source_is_one_clear_line(mitoscale: Call, tmp_path: Path) -> None:
    ended = mitoscale("plan", str(tmp_path / "nowhere.tif"))
    assert ended.code == 1 and len(ended.err.splitlines()) == 1
