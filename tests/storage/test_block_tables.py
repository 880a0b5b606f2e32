"""The small tables of blocks: few files, and what is missing, broken or of other settings is told by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mitoscale.core.errors import DamagedError
from mitoscale.core.geometry import Region
from mitoscale.core.grid import SUPER_BLOCK, BlockGrid
from mitoscale.storage.block_tables import BlockTables
from mitoscale.storage.table_file import TaskTables, parts_of
from mitoscale.storage.tables import Columns

GRID = BlockGrid(region=Region.of_shape((4, 4, 4 * (SUPER_BLOCK + 2))), core_shape=(4, 4, 4), margin=(0, 0, 0))
NAMES = [block.name for block in GRID.blocks()]


def columns(number: int) -> Columns:
    return {
        "local": np.arange(number, dtype=np.uint32),
        "score": np.linspace(0, 1, number, dtype=np.float32),
        "kept": np.arange(number) % 2 == 0,
    }


def tables(folder: Path, token: str = "t") -> BlockTables:
    return BlockTables(str(folder), GRID, stage="segment", token=token)


def written(folder: Path, token: str = "t") -> BlockTables:
    made = tables(folder, token)
    for number, name in enumerate(NAMES):
        made.write(name, {"fragments": columns(number), "pairs": columns(0)}, {"seals": name})
    return made


def check_all(found: BlockTables) -> None:
    for number, name in enumerate(NAMES):
        task = found.read(name)
        assert task.note == {"seals": name} and set(task.tables) == {"fragments", "pairs"}
        for column, values in columns(number).items():
            np.testing.assert_array_equal(task.tables["fragments"][column], values)
            assert task.tables["fragments"][column].dtype == task.tables["pairs"][column].dtype == values.dtype


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_single_files_are_gathered_in_one_for_each_super_block(tmp_path: Path) -> None:
    made = written(tmp_path)
    assert len(files(tmp_path)) == len(NAMES)
    check_all(made)
    assert list(made.loose()) == [(0, 0, 0), (0, 0, 1)]
    for corner in made.loose():
        made.gather(corner)
    assert files(tmp_path) == ["z000/y000/x000.tables", "z000/y000/x001.tables"] and not list(made.loose())
    check_all(made)
    assert [name for name, _ in made.read_all((0, 0, 1))] == NAMES[SUPER_BLOCK:]
    assert not made.lacking(NAMES)


def test_a_task_that_is_done_again_replaces_its_row(tmp_path: Path) -> None:
    made = written(tmp_path)
    made.gather((0, 0, 0))
    for _ in range(2):  # read from its own file, then from the gathered one
        made.write(NAMES[3], {"fragments": columns(50), "pairs": columns(0)}, {"seals": "new"})
        assert made.read(NAMES[3]).note == {"seals": "new"}
        made.gather((0, 0, 0))
        assert len(made.read(NAMES[3]).tables["fragments"]["local"]) == 50
    assert made.read(NAMES[4]).note == {"seals": NAMES[4]}


def test_of_a_finished_stage_its_gathered_file_is_read_first(tmp_path: Path) -> None:
    made = written(tmp_path)
    assert made.read(NAMES[3], (), finished=True).note == {"seals": NAMES[3]}, "not gathered yet"
    made.gather((0, 0, 0))
    made.write(NAMES[3], {"fragments": columns(50)}, {"seals": "of a task that was cancelled"})
    assert made.read(NAMES[3], finished=True).note == {"seals": NAMES[3]}
    Path(made.gathered((0, 0, 0))).write_bytes(b"broken")
    assert made.read(NAMES[3], finished=True).note == {"seals": "of a task that was cancelled"}
    with pytest.raises(DamagedError, match="broken"):
        made.read(NAMES[4], finished=True)


def test_what_other_settings_have_written_is_passed_over(tmp_path: Path) -> None:
    written(tmp_path, "old")
    now = tables(tmp_path)
    with pytest.raises(DamagedError, match="other settings") as caught:
        now.read(NAMES[0])
    assert (caught.value.stage, caught.value.task) == ("segment", NAMES[0])
    now.write(NAMES[0], {"fragments": columns(1)})
    now.gather((0, 0, 0))
    tables(tmp_path, "old").write(NAMES[0], {"fragments": columns(9)})  # a cancelled task that goes on
    assert len(now.read(NAMES[0]).tables["fragments"]["local"]) == 1
    now.gather((0, 0, 0))
    assert len(now.read(NAMES[0]).tables["fragments"]["local"]) == 1
    assert now.lacking(NAMES[:2]) == [NAMES[1]]


@pytest.mark.parametrize("gathered", [False, True])
def test_a_flipped_byte_and_a_cut_file_are_told_by_name(gathered: bool, tmp_path: Path) -> None:
    made = written(tmp_path)
    if gathered:
        made.gather((0, 0, 0))
    path = tmp_path / "z000" / "y000" / ("x000.tables" if gathered else f"x000/{NAMES[11]}.tables")
    content = path.read_bytes()
    flipped = 0
    for at in range(len(content) // 4, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            found = made.read(NAMES[11])
            np.testing.assert_array_equal(found.tables["fragments"]["local"], columns(11)["local"])
        except DamagedError as error:
            flipped += 1
            assert (error.stage, error.task) == ("segment", NAMES[11])
    assert flipped > (3 if gathered else 20)
    path.write_bytes(content[:100])
    with pytest.raises(DamagedError, match="gone, broken"):
        made.read(NAMES[11])
    if gathered:
        assert made.lacking(NAMES) == NAMES[:SUPER_BLOCK]
    path.unlink()
    with pytest.raises(DamagedError):
        made.read(NAMES[11])


def test_a_stages_own_tables_name_the_stage_alone(tmp_path: Path) -> None:
    own = BlockTables(str(tmp_path), GRID, stage="stitch", token="t", by_tasks=False)
    own.write_all((0, 0, 0), {NAMES[0]: TaskTables(tables={"fragments": columns(2)})})
    assert len(own.read(NAMES[0]).tables["fragments"]["local"]) == 2
    with pytest.raises(DamagedError) as caught:
        own.read(NAMES[1])
    assert (caught.value.stage, caught.value.task) == ("stitch", "")


@pytest.mark.parametrize("gathered", [True, False])
def test_tables_of_all_super_blocks_come_in_the_order_they_are_asked_for(
    tmp_path: Path, gathered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a super-block that is gathered the file is opened once, not for each task."""
    made = written(tmp_path)
    for corner in list(made.loose()) if gathered else []:
        made.gather(corner)
    opened = []
    monkeypatch.setattr("mitoscale.storage.block_tables.parts_of", lambda *given: opened.append(given) or parts_of(*given))
    asked = [NAMES[-1], *NAMES[2:-1]]
    found = dict(made.read_each(asked, ("pairs",)))
    assert list(found) == asked and all(set(task.tables) == {"pairs"} for task in found.values())
    assert len(opened) == 3, "the last block's super-block, the first one, and the last one again"
