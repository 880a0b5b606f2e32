"""Tables merged through runs on disk are the tables merged at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mitoscale.core.geometry import Region
from mitoscale.ops.boundaries import merge_boundaries
from mitoscale.ops.objects import merge_objects, partial_objects
from mitoscale.storage import rows_merged_by_label
from mitoscale.storage.rows_merged_by_label import SortedRows, label_ranges
from mitoscale.storage.tables import Columns


def parts(count: int) -> list[Columns]:
    """Sums of blocks in a row whose objects reach into the next ones."""
    rng = np.random.default_rng(1)
    found = []
    for i in range(count):
        labels = (2 * i + rng.integers(0, 9, (2, 5, 5))).astype(np.uint32)
        core = Region(start=(2 * i, 0, 0), stop=(2 * i + 2, 5, 5))
        found.append(partial_objects(labels, labels.astype(np.uint8), core=core))
    return found


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_ranges_add_up_to_the_merge_of_everything(batch: int, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_merged_by_label, "_GROUP", 5)
    expected = merge_objects(parts(10))
    rows = SortedRows(iter(parts(10)), merge_objects, str(tmp_path / "runs"), batch=batch)
    assert rows.last == expected["label"].max()
    pieces = [rows.rows(low, high) for low, high in label_ranges(rows.last, step)]
    for name, values in expected.items():
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), values, err_msg=name)


def test_no_rows_and_no_tables(tmp_path: Path) -> None:
    empty = merge_boundaries([])
    for tables in ([], [empty], [empty, empty]):
        rows = SortedRows(tables, merge_boundaries, str(tmp_path / "runs"), batch=1)
        assert rows.last == 0
        found = rows.rows(1, 100)
        assert found.keys() == empty.keys() and len(found["label"]) == 0
