"""The report's table of stages against ledger lines as a run writes them."""

from __future__ import annotations

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, CoarseShard
from mitoscale.report.stage_table import stage_table, stage_totals
from mitoscale.storage.ledger import LedgerEntry


def test_coarser_levels_are_no_tasks_of_their_stage() -> None:
    core = Region.of_shape((8, 64, 64))
    block = Block(index=(0, 0, 0), core=core, halo=core)
    seconds = {"read": 1.0, "compute": 2.0, "write": 3.0}
    lines = [
        LedgerEntry(name=block.name, token="t", counts={"voxels": float(core.size)}, seconds=seconds),
        LedgerEntry(name=CoarseShard(level=1, part=block).name, token="t", seconds=seconds),
        LedgerEntry(name="z000_y000_x001", token="t", state="quarantined", error="Traceback\nOSError: gone"),
        LedgerEntry(name="finished", token="t", seconds={"wall": 9.0}),
    ]
    given_up: dict[str, str] = {}
    totals = stage_totals(lines, given_up)
    assert totals["tasks"] == 2 and totals["voxels"] == core.size and totals["read"] == 1.0
    assert totals["quarantined"] == 1 and given_up == {"z000_y000_x001": "OSError: gone"}
    ((stage, tasks, wall, *_),) = stage_table({"convert": totals}).rows
    assert (stage, tasks, wall) == ("convert", "2", "9.0")
