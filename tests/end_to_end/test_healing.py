"""Blocks that are given up, data that is lost or stale: the run goes on, and heals to what it would have been."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Call, Finished, Stack, contents, labels_of, renamed

from mitoscale.core.errors import BlockError, DamagedError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import STAGES
from mitoscale.ops.phantom import make_phantom
from mitoscale.pipeline import load, quarantined
from mitoscale.stages.fragment_slots import write_slot
from mitoscale.storage.arrays import open_array
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder, read_json, write_json
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.tables import read_table
from mitoscale.storage.tiff_writing import write_tiff


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A phantom of eight blocks side by side, of which one reads a quarter at most."""
    folder = tmp_path_factory.mktemp("row")
    phantom = make_phantom((16, 64, 512), objects=12, seed=5, touching=0.0)
    write_tiff(str(folder / "row.tif"), phantom.image, phantom.spacing)
    np.save(folder / "truth.npy", phantom.labels)
    return Stack(phantom=phantom, image=str(folder / "row.tif"), truth=str(folder / "truth.npy"))


@pytest.fixture(scope="module")
def undisturbed(mitoscale: Call, row: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    run = str(tmp_path_factory.mktemp("undisturbed") / "run")
    assert mitoscale("run", row.image, run, *row.exact()).code == 0
    return run


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> str:
    """A finished run that a test may change."""
    shutil.copytree(finished.run, tmp_path / "copy")
    return str(tmp_path / "copy")


def check_same(run: str, other: str) -> None:
    """Labels and tables are equal bit for bit."""
    assert np.array_equal(labels_of(run), labels_of(other))
    for name in ("objects", "detections", "edges_table"):
        mine, theirs = (read_table(getattr(RunFolder(r), name)) for r in (run, other))
        assert mine.keys() == theirs.keys()
        for column in theirs:
            equal_nan = theirs[column].dtype.kind == "f"
            assert np.array_equal(mine[column], theirs[column], equal_nan=equal_nan), f"{name} {column}"


def events(run: str, kind: str) -> list[tuple[str, str]]:
    return [(e.stage, e.task) for e in EventLog(RunFolder(run).events).read() if e.kind == kind]


def computed(err: str) -> dict[str, int]:
    """Tasks computed in each stage, as the command said."""
    words = [line.split() for line in err.splitlines() if " tasks computed" in line]
    return {w[0]: int(w[1]) for w in words}


@pytest.mark.parametrize("stage", ["detect", "segment"])
def test_a_poisoned_block_costs_what_meets_it_and_heals(
    stage: str, mitoscale: Call, row: Stack, undisturbed: str, tmp_path: Path
) -> None:
    run, fails = str(tmp_path / "run"), tmp_path / "fails"
    poisoned = load(undisturbed).plan.grid.block((0, 0, 2))
    fails.write_text(str(poisoned.halo))
    kind = "--detector-option" if stage == "detect" else "--segmenter-option"
    ended = mitoscale("run", row.image, run, *row.exact(), kind, f"fails={fails}")
    assert ended.code == 3, ended.err
    plan = load(run).plan
    lost = quarantined(load(run))
    assert lost == {stage: [poisoned.name]} and "mitoscale retry" in ended.err
    entries = Ledger(RunFolder(run).ledger(stage)).entries(plan.settings.token(stage))
    assert all("beyond me" in entries[name].error and "Traceback" in entries[name].error for name in lost[stage])
    assert events(run, "quarantined") == [(stage, name) for name in lost[stage]]
    assert "mitoscale retry" in Path(RunFolder(run).report).read_text()

    # objects that do not meet what a lost block reads are the same
    met = np.zeros(plan.spec.shape, bool)
    met[poisoned.halo.slices] = True
    found, expected = labels_of(run), labels_of(undisturbed)
    far = np.setdiff1d(np.unique(expected[~met]), np.unique(expected[met]))
    assert len(far), "no object is far away: the test shows nothing"
    kept = np.isin(expected, far)
    assert np.array_equal(renamed(np.where(kept, found, 0)), renamed(np.where(kept, expected, 0)))
    assert not np.isin(np.unique(found[kept]), np.unique(found[~kept])).any()

    fails.unlink()
    healed = mitoscale("retry", run)
    assert healed.code == 0, healed.err
    tasks = computed(healed.err)
    assert tasks[stage] == 1 and tasks["convert"] == 0
    if stage == "segment":
        assert tasks["detect"] == 0 and tasks["stitch"] == 2  # its two faces
    else:
        assert tasks["segment"] == 3 and tasks["stitch"] == 0  # itself and the two that read it; they say the same
    assert events(run, "healed") == [(stage, name) for name in lost[stage]]
    check_same(run, undisturbed)
    assert quarantined(load(run)) == {}
    before = contents(run)
    again = mitoscale("retry", run)
    assert again.code == 0 and "nothing to heal" in again.out and contents(run) == before


def test_a_lost_shard_is_made_again_by_name(mitoscale: Call, copy: str, finished: Finished) -> None:
    Path(RunFolder(copy).foreground, "c", "1", "0", "1").unlink()
    ended = mitoscale("segment", copy, "--redo", "segment")
    assert ended.code == 0, ended.err
    assert set(events(copy, "damaged")) == {("detect", "z001_y000_x001")}
    assert computed(ended.err)["detect"] == 1 and "detect    0 of" not in ended.err
    for name in STAGES[3:]:
        assert mitoscale(name, copy).code == 0
    check_same(copy, finished.run)


@pytest.mark.parametrize("array, reader", [("foreground", "segment"), ("fragments", "stitch"), ("fragments", "relabel")])
def test_what_is_whole_but_not_what_was_written_is_made_again(
    array: str, reader: str, mitoscale: Call, copy: str, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stale cache of a network disk gives it: every checksum inside the file is right."""
    folder = RunFolder(copy)
    stage = "detect" if array == "foreground" else "segment"
    grid = load(copy).plan.grid
    block = grid.block((0, 1, 1))
    if array == "foreground":
        open_array(folder.foreground).write(block.core, np.zeros(block.core.shape, np.uint8))
    else:
        write_slot(load(copy).plan, block, np.full(block.halo.shape, 1000, np.uint32))
    if reader == "relabel":
        with monkeypatch.context() as unsealed, pytest.raises(DamagedError, match="fragments that its table does not know"):
            unsealed.setattr("mitoscale.stages.relabel.check_seal", lambda *_, **__: None)
            load(copy).stage("relabel").process(block)
        write_slot(load(copy).plan, block, np.zeros(block.halo.shape, np.uint32))
    ended = mitoscale(reader, copy, "--redo", reader)
    assert ended.code == 0, ended.err
    assert set(events(copy, "damaged")) == {(stage, block.name)}
    for name in STAGES[STAGES.index(reader) + 1 :]:
        assert mitoscale(name, copy).code == 0
    check_same(copy, finished.run)


@pytest.mark.parametrize("stage", ["detect", "segment"])
def test_a_cancelled_task_of_older_settings_changes_nothing(
    stage: str, mitoscale: Call, stack: Stack, copy: str, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it writes all the same, because its machine sees the new settings late, that is found and made again."""
    option = "--detector-option" if stage == "detect" else "--segmenter-option"
    older, reader = load(copy).stage(stage), STAGES[STAGES.index(stage) + 1]
    fails = ["fails=/nowhere", f"truth={stack.truth}"]
    ended = mitoscale(stage, copy, "--redo", stage, option, fails[0], option, fails[1])
    assert ended.code == 0, ended.err
    before, block = contents(copy), load(copy).plan.grid.block((0, 1, 1))
    with pytest.raises(BlockError, match=f"{stage}: the run has other settings by now"):
        older.process(block)
    assert contents(copy) == before
    monkeypatch.setattr("mitoscale.stages.stage.check_current", lambda *_: None)
    older.process(block)
    if stage == "detect":  # what it has written may be other voxels, too
        open_array(RunFolder(copy).foreground).write(block.core, np.zeros(block.core.shape, np.uint8))
    else:
        write_slot(load(copy).plan, block, np.zeros(block.halo.shape, np.uint32))
    ended = mitoscale(reader, copy)
    assert ended.code == 0, ended.err
    assert set(events(copy, "damaged")) == {(stage, block.name)}
    for name in STAGES[STAGES.index(reader) + 1 :]:
        assert mitoscale(name, copy).code == 0
    check_same(copy, finished.run)


def test_a_cancelled_task_of_an_earlier_start_changes_nothing(mitoscale: Call, copy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same settings, and other inputs, perhaps, as where ``retry`` has healed them since."""
    folder, run = RunFolder(copy), load(copy)
    block, newest = run.plan.grid.block((0, 1, 1)), int(read_json(folder.starts))
    assert newest == len(STAGES)
    current = run.stage("segment").model_copy(update={"start": newest})
    before = contents(copy)
    with pytest.raises(BlockError, match="segment: a stage was begun since this task was cancelled"):
        current.model_copy(update={"start": newest - 1}).process(block)
    assert contents(copy) == before

    def begun_meanwhile(*given: Any) -> None:
        write_slot(*given)
        write_json(folder.starts, newest + 1)

    with monkeypatch.context() as patch, pytest.raises(BlockError, match="begun since"):
        patch.setattr("mitoscale.stages.segment.write_slot", begun_meanwhile)
        current.process(block)
    assert not list(Path(folder.masks_parts).rglob(f"{block.name}*")), "the seals are those of what was there before"
    numbers = []
    monkeypatch.setattr("mitoscale.stages.stage.check_current", lambda plan, stage, start: numbers.append(start))
    assert mitoscale("measure", copy, "--redo", "measure").code == 0
    assert set(numbers) == {newest + 2}


def test_data_that_never_stays_stops_the_run(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    """A disk that loses what is written: the run says so instead of going round for ever."""
    run = str(tmp_path / "run")
    options = [*stack.exact(), "--region", "0:16,0:64,0:64", "--segmenter-option", "unreadable=z000_y000_x000"]
    ended = mitoscale("run", stack.image, run, *options)
    assert ended.code == 4, ended.err
    assert "detect z000_y000_x000 was done 3 times" in ended.err and "check the disk" in ended.err
    assert events(run, "stopped")


def test_a_run_with_lost_blocks_keeps_its_working_files(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run, fails = str(tmp_path / "run"), tmp_path / "fails"
    fails.touch()
    options = ["--region", "0:16,:,:", "--segmenter-option", f"fails={fails}"]
    ended = mitoscale("run", stack.image, run, *stack.exact(), *options)
    assert ended.code == 3 and ended.out.startswith("objects    0,")
    refused = mitoscale("clean", run)
    assert refused.code == 1 and "mitoscale retry" in refused.err
    assert not open_array(f"{RunFolder(run).labels}/0").read(Region.of_shape((16, 128, 128))).any()
