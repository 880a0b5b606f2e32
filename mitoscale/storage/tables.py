"""Parquet tables as columns of NumPy arrays, written atomically."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mitoscale.core.errors import InputError
from mitoscale.storage.atomic import replacing

Columns = dict[str, np.ndarray]
"""Column name -> (N,) values."""


def write_table(
    path: str, columns: Mapping[str, np.ndarray], *, metadata: Mapping[str, str] | None = None, durable: bool = True
) -> None:
    """Write columns as Parquet; ``durable`` waits until they are on the disk.

    Raises
    ------
    StoppedError
        If it cannot be written, as on a full disk.
    """
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    if metadata:
        table = table.replace_schema_metadata(dict(metadata))
    with replacing(path, durable=durable) as part:
        pyarrow.parquet.write_table(table, part)


def write_csv(path: str, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns as comma-separated text with a header line; see :func:`write_table`."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    with replacing(path) as part:
        pyarrow.csv.write_csv(table, part)


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
    """The key-value metadata of a table.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    try:
        schema = pyarrow.parquet.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _broken(path, error) from error
    return {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}


def _read(path: str) -> pa.Table:
    try:
        return pyarrow.parquet.read_table(path, memory_map=False, partitioning=None)
    except (OSError, pa.ArrowInvalid) as error:
        raise _broken(path, error) from error


def _broken(path: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"table {path} cannot be read ({reason}); run the stage that makes it again with --redo")
