"""Tables: columns come back as they were, and a table is there whole or not at all."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.tables import read_table, table_metadata, write_csv, write_table

DTYPES = ["bool", "uint8", "int32", "uint32", "int64", "uint64", "float32", "float64"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4), st.integers(0, 9))
def test_columns_come_back_as_they_were(tmp_path: Path, data: st.DataObject, dtypes: list[str], length: int) -> None:
    columns = {f"c{n}": data.draw(hnp.arrays(dtype, length)) for n, dtype in enumerate(dtypes)}
    path = str(tmp_path / "t.parquet")
    write_table(path, columns)
    found = read_table(path)
    assert list(found) == list(columns)
    for name, values in columns.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_text_columns_and_metadata(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "t.parquet")
    write_table(path, {"block": np.array(["z000", "z001"]), "n": np.arange(2)}, metadata={"settings": "{}", "ü": "µ"})
    assert read_table(path)["block"].tolist() == ["z000", "z001"]
    assert table_metadata(path) == {"settings": "{}", "ü": "µ"}
    assert pyarrow.parquet.read_schema(path).names == ["block", "n"]
    write_table(path, {"block": np.array([], dtype=str)})
    assert read_table(path)["block"].shape == (0,)
    assert table_metadata(path) == {}


def test_a_folder_that_looks_like_a_partition_is_only_a_folder(tmp_path: Path) -> None:
    path = str(tmp_path / "run=3" / "t.parquet")
    write_table(path, {"n": np.arange(2)})
    assert list(read_table(path)) == ["n"]


def test_columns_of_different_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="length"):
        write_table(str(tmp_path / "t.parquet"), {"a": np.arange(2), "b": np.arange(3)})
    assert not list(tmp_path.iterdir())


def test_csv_is_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_csv(str(path), {"label": np.array([1, 2], np.uint64), "volume": np.array([0.5, 1e9]), "a,b": np.array(["x", "y"])})
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["label", "volume", "a,b"]
    assert [(int(r["label"]), float(r["volume"]), r["a,b"]) for r in rows] == [(1, 0.5, "x"), (2, 1e9, "y")]


def test_a_missing_or_damaged_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    for read in (read_table, table_metadata):
        with pytest.raises(InputError, match=r"t\.parquet"):
            read(str(path))
    write_table(str(path), {"n": np.arange(100)})
    path.write_bytes(path.read_bytes()[:-30])
    for read in (read_table, table_metadata):
        with pytest.raises(InputError, match=r"t\.parquet"):
            read(str(path))
    path.write_text("no table")
    with pytest.raises(InputError, match=r"t\.parquet"):
        read_table(str(path))


def test_an_unwritable_place_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("a file where the folder should be")
    for write in (write_table, write_csv):
        with pytest.raises(StoppedError, match="tables"):
            write(str(tmp_path / "tables" / "t"), {"n": np.arange(2)})


def test_a_failed_write_leaves_the_old_table_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").mkdir()  # a rename onto a folder fails after everything was written
    with pytest.raises(StoppedError):
        write_table(str(tmp_path / "t.parquet"), {"n": np.arange(2)})
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
