"""Parquet tables as columns of NumPy arrays, written atomically."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mitoscale.core.errors import InputError, StoppedError

Columns = dict[str, np.ndarray]
"""Column name -> (N,) values."""


def write_table(path: str, columns: Mapping[str, np.ndarray], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write columns as Parquet.

    Raises
    ------
    StoppedError
        If it cannot be written, as on a full disk.
    """
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    if metadata:
        table = table.replace_schema_metadata(dict(metadata))
    _replace(path, lambda part: pyarrow.parquet.write_table(table, part))


def write_csv(path: str, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns as comma-separated text with a header line; see :func:`write_table`."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    _replace(path, lambda part: pyarrow.csv.write_csv(table, part))


def read_table(path: str) -> Columns:
    """Read all columns.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    table = _read(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def table_metadata(path: str) -> dict[str, str]:
    """The key-value metadata of a table."""
    schema = pyarrow.parquet.read_schema(path)
    return {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}


def _read(path: str) -> pa.Table:
    try:
        return pyarrow.parquet.read_table(path, memory_map=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"table {path} cannot be read ({error}); run the stage that makes it again with --redo"
        ) from error


def _replace(path: str, write: Callable[[Path], None]) -> None:
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(target)
    except OSError as error:
        raise StoppedError(f"cannot write {path} ({error}): free space or permissions, then start again") from error
