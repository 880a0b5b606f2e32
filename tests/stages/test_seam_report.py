"""The seam report: what it lists, where, and what it says of neighbours of which nothing is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Finished, Stack, labels_of

from mitoscale.cluster.executor import SerialExecutor
from mitoscale.core.result import BlockResult
from mitoscale.core.settings import StitchSettings
from mitoscale.ops.global_ids import unpack
from mitoscale.pipeline import FINISHED, Observer, Run, execute, load, start
from mitoscale.stages.block_states import BlockState, BlockStates
from mitoscale.stages.fragment_slots import read_slot
from mitoscale.stages.seam_report import KINDS
from mitoscale.stages.work_tables import tables_of
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.tables import Columns, read_table


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> str:
    """A finished run to change."""
    return shutil.copytree(finished.run, tmp_path / "run").as_posix()


def stitched(run: Run, *stages: str) -> tuple[Columns, dict[str, float]]:
    """Stitch again; the table of edges, and the numbers of the summary."""
    outcomes = execute(run, ["stitch", *stages], SerialExecutor(), Observer(), redo="stitch")
    return read_table(RunFolder(run.plan.run).edges_table), dict(outcomes[0].numbers)


def with_settings(run: Run, **changes: float) -> Run:
    """The same run with other settings of stitch, as ``--redo stitch`` gives it."""
    settings = run.plan.settings.model_copy(update={"stitch": StitchSettings(**changes)})
    return start(run.plan.model_copy(update={"settings": settings}), redo="stitch")


def test_a_faultless_run_has_no_suspects(finished: Finished) -> None:
    run = load(finished.run)
    entry = Ledger(RunFolder(finished.run).ledger("stitch")).entries(run.plan.settings.token("stitch"))[FINISHED]
    table = read_table(RunFolder(finished.run).edges_table)
    assert list(table) == list(KINDS) and entry.counts["suspects"] == len(table["face"])
    assert not set(table["kind"]) & {"cut", "open"}
    assert entry.counts["face_cut"] == entry.counts["inner_cut"] == 0
    assert entry.counts["face_alike"] >= 10 and entry.counts["inner_alike"] >= 10
    assert entry.counts["faces_compared"] + entry.counts.get("faces_empty", 0) == len(list(run.plan.grid.faces()))
    assert entry.counts["sides_skipped"] == 0


def test_joins_that_were_not_made_are_listed_as_cuts_where_they_are(copy: str) -> None:
    run = with_settings(load(copy), overlap=1.0, split_overlap=1.1)  # so that nothing is joined
    table, numbers = stitched(run, "relabel", "measure")
    assert numbers["face_cut"] == numbers["face_alike"] > 10 and numbers["inner_cut"] == 0
    cut = {name: values[table["kind"] == "cut"] for name, values in table.items()}
    assert len(cut["face"]) == numbers["face_cut"] and not cut["accepted"].any()
    labels, sides = labels_of(copy), []
    for z, y, x, face in zip(cut["z"], cut["y"], cut["x"], cut["face"], strict=True):
        before = [int(v) - (face[-1] == axis) for v, axis in zip((z, y, x), "zyx", strict=True)]
        sides.append((int(labels[tuple(before)]), int(labels[z, y, x])))
    assert all(a != b or a == b == 0 for a, b in sides)  # small parts were dropped after the stitch
    assert sum(a > 0 and b > 0 for a, b in sides) > 10
    assert (np.diff(table["doubt"]) <= 0).all()


def test_each_edge_has_a_voxel_that_both_of_its_fragments_have(finished: Finished) -> None:
    """Also of fragments that meet only beside the face, in what both blocks have read."""
    run = load(finished.run)
    plan, grid = run.plan, run.plan.grid
    whole = {block.name: read_slot(plan, block, block.halo) for block in grid.blocks()}
    seen = beside = 0
    for face in grid.faces():
        edges = tables_of(plan, "stitch").read(face.name).tables["edges"]
        for i, point in enumerate(zip(*(edges[axis].tolist() for axis in "zyx"), strict=True)):
            before = tuple(v - (n == face.axis) for n, v in enumerate(point))
            places = [(before, point), (point, point)]  # they face each other, or both lie there
            ids = [int(unpack(edges[side][i : i + 1])[1][0]) for side in ("low", "high")]
            found = [
                [
                    int(whole[block.name][tuple(v - s for v, s in zip(voxel, block.halo.start, strict=True))])
                    for block, voxel in zip((face.low, face.high), place, strict=True)
                ]
                for place in places
            ]
            assert ids in found
            seen += 1
            beside += ids != found[0]
    assert seen > 20 and beside > 0


def test_the_report_shows_suspects_and_rates(copy: str) -> None:
    run = with_settings(load(copy), overlap=1.0, split_overlap=1.1)
    execute(run, ["stitch", "relabel", "measure", "report"], SerialExecutor(), Observer(), redo="stitch")
    page = Path(RunFolder(copy).report).read_text()
    for part in ("block faces", "planes inside blocks", "suspected", "at z, y, x", "cut"):
        assert part in page, part


@pytest.mark.parametrize("state", [BlockState.GIVEN_UP, BlockState.MISSING])
def test_seams_beside_an_unknown_block_are_open(copy: str, state: BlockState) -> None:
    run = load(copy)
    name, folder, token = "z000_y001_x001", RunFolder(copy), run.plan.settings.token("segment")
    ledger = Ledger(folder.ledger("segment"))
    if state is BlockState.GIVEN_UP:
        ledger.append(BlockResult(name=name), token=token, state="quarantined", error="it failed")
        ledger.close()
    else:
        lines = Path(folder.ledger("segment")).read_text().splitlines(keepends=True)
        Path(folder.ledger("segment")).write_text("".join(line for line in lines if json.loads(line)["name"] != name))
    assert BlockStates(run.plan).of(run.plan.grid.named(name)) is state
    table, numbers = stitched(run)
    opened = table["kind"] == "open"
    assert sorted(table["face"][opened]) == ["z000_y000_x001+y", "z000_y001_x000+x", "z000_y001_x001+z"]
    assert set(table["neighbour"][opened]) == {str(state)} and (table["doubt"][opened] == 1).all()
    assert numbers[f"faces_{state.replace(' ', '_')}"] == 3


def test_an_empty_neighbour_is_no_open_seam(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    truth = np.load(stack.truth)
    truth[:, :, 60:] = 0
    np.save(tmp_path / "half.npy", truth)
    options = [o.replace(stack.truth, str(tmp_path / "half.npy")) for o in stack.exact()]
    run = str(tmp_path / "run")
    assert mitoscale("run", stack.image, run, *options, "--region", "0:32,0:128,0:100").code == 0
    plan = load(run).plan
    states = BlockStates(plan)
    # Half of what a block behind reads is the other's core, where something is: only what is beyond all objects is empty.
    assert {states.of(block) for block in plan.grid.blocks()} <= {BlockState.SEGMENTED, BlockState.EMPTY}
    outside = plan.grid.block((0, 0, 1)).model_copy(update={"index": (0, 0, 2)})
    assert states.of(outside) is BlockState.SKIPPED
    counts = Ledger(RunFolder(run).ledger("stitch")).entries(plan.settings.token("stitch"))[FINISHED].counts
    assert counts["sides_skipped"] == 1 and not any(name in counts for name in ("faces_given_up", "faces_missing"))
    assert "open" not in set(read_table(RunFolder(run).edges_table)["kind"])
