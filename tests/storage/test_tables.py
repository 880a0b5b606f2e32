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
from mitoscale.storage.tables import appending, read_rows, read_table, table_metadata, write_csv, write_table

DTYPES = ["bool", "uint8", "int32", "uint32", "int64", "uint64", "float32", "float64"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_a_table_in_pieces_and_its_csv_are_read_by_others(tmp_path: Path) -> None:
    path, text = tmp_path / "t.parquet", tmp_path / "t.csv"
    pieces = [
        {"label": np.array([1, 2], np.uint64), "volume": np.array([0.5, 1e9]), "a,b": np.array(["x", "y"])},
        {"label": np.array([2**63 + 1], np.uint64), "volume": np.array([np.nan]), "a,b": np.array(["z"])},
    ]
    with appending(str(path), csv=str(text), metadata={"made": "now"}) as append:
        for piece in pieces:
            append(piece)
        assert not path.exists() and not text.exists()
    with text.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["label", "volume", "a,b"]
    assert [(int(r["label"]), r["a,b"]) for r in rows] == [(1, "x"), (2, "y"), (2**63 + 1, "z")]
    assert [float(r["volume"]) for r in rows[:2]] == [0.5, 1e9]
    found = read_table(str(path))
    for name in pieces[0]:
        np.testing.assert_array_equal(found[name], np.concatenate([piece[name] for piece in pieces]))
    assert table_metadata(str(path))["made"] == "now"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.parquet"]


def test_a_table_whose_pieces_fail_is_not_there(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with appending(str(tmp_path / "t.parquet"), csv=str(tmp_path / "t.csv")) as append:
            append({"n": np.arange(3)})
            raise KeyError("half way")

    with pytest.raises(KeyError):
        fail_half_way()
    assert not list(tmp_path.iterdir())


def test_rows_of_a_range(tmp_path: Path) -> None:
    path = str(tmp_path / "t.parquet")
    labels = np.array([1, 1, 4, 5, 2**63, 2**63 + 2], np.uint64)
    with appending(path) as append:
        for start in (0, 2, 4):
            append({"label": labels[start : start + 2], "row": np.arange(start, start + 2)})
    for low, high in ((0, 1), (1, 2), (2, 5), (4, 2**63 + 1), (2**63 + 1, 2**64 - 1), (6, 100)):
        found = read_rows(path, "label", low, high)
        inside = (labels >= np.uint64(low)) & (labels < np.uint64(high))
        np.testing.assert_array_equal(found["row"], np.flatnonzero(inside))
        assert found["label"].dtype == np.uint64


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
    with pytest.raises(StoppedError, match="tables"), appending(str(tmp_path / "tables" / "t")) as append:
        append({"n": np.arange(2)})


def test_a_failed_write_leaves_the_old_table_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").mkdir()  # a rename onto a folder fails after everything was written
    with pytest.raises(StoppedError):
        write_table(str(tmp_path / "t.parquet"), {"n": np.arange(2)})
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
