"""Parquet tables as columns of NumPy arrays, written atomically, at once or piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mitoscale.core.errors import InputError
from mitoscale.storage.arrow_columns import arrow_table, numpy_columns
from mitoscale.storage.atomic import replacing
from mitoscale.storage.stored_files import on_disk

Columns = dict[str, np.ndarray]
"""Column name -> (N,) values."""


def write_table(
    path: str, columns: Mapping[str, np.ndarray], *, metadata: Mapping[str, str] | None = None, durable: bool = True
) -> None:
    """Write columns as Parquet; ``durable`` waits until they are on the disk.

    Parameters
    ----------
    path : str
        File to write, whole or not at all.
    columns : mapping of str to (N,) array
        Its columns.
    metadata : mapping of str to str, optional
        Kept with the schema.
    durable : bool
        Whether to wait until it is on the disk.

    Raises
    ------
    StoppedError
        If it cannot be written, as on a full disk.
    """
    table = arrow_table(columns)
    if metadata:
        table = table.replace_schema_metadata(dict(metadata))
    with replacing(path, durable=durable) as part:
        pyarrow.parquet.write_table(table, part)


def write_csv(path: str, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns as comma-separated text with a header line; see :func:`write_table`.

    Parameters
    ----------
    path : str
        File to write, whole or not at all.
    columns : mapping of str to (N,) array
        Its columns.
    """
    table = arrow_table(columns)
    with replacing(path) as part:
        pyarrow.csv.write_csv(table, part)


def write_tsv(path: str, pieces: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write pieces of a table of numbers as text with tabs between them and a header line; see :func:`write_table`.

    Parameters
    ----------
    path : str
        File to write, whole or not at all.
    pieces : iterable of mapping of str to (N,) array
        The same columns each time; at least one piece.
    """
    options = pyarrow.csv.WriteOptions(delimiter="\t", quoting_header="none", quoting_style="none")
    with replacing(path) as part, ExitStack() as stack:
        writer = None
        for columns in pieces:
            table = pa.table({name: pa.array(values) for name, values in columns.items()})
            if writer is None:
                writer = stack.enter_context(pyarrow.csv.CSVWriter(part, table.schema, write_options=options))
            writer.write_table(table)


Append = Callable[[Mapping[str, np.ndarray]], None]
"""Takes the next rows of a table."""


@contextmanager
def appending(path: str, *, csv: str | None = None, metadata: Mapping[str, str] | None = None) -> Iterator[Append]:
    """Write a table piece by piece, so that it need not be held as a whole; it appears when all is written.

    Parameters
    ----------
    path : str
        The Parquet file; each piece is a row group.
    csv : str, optional
        The same rows as text.
    metadata : mapping, optional
        Kept with the Parquet file.

    Yields
    ------
    callable
        Appends columns, the same ones each time; call it at least once.

    Raises
    ------
    StoppedError
        If it cannot be written, as on a full disk.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(replacing(path))] + ([stack.enter_context(replacing(csv))] if csv else [])
        writers = stack.enter_context(ExitStack())  # closed before the files are renamed
        opened: list[pyarrow.parquet.ParquetWriter | pyarrow.csv.CSVWriter] = []

        def append(columns: Mapping[str, np.ndarray]) -> None:
            table = arrow_table(columns)
            if not opened:
                schema = table.schema.with_metadata(dict(metadata)) if metadata else table.schema
                opened.append(writers.enter_context(pyarrow.parquet.ParquetWriter(files[0], schema)))
                opened.extend(writers.enter_context(pyarrow.csv.CSVWriter(file, table.schema)) for file in files[1:])
            for writer in opened:
                writer.write_table(table)

        yield append


def read_rows(path: str, column: str, low: int, high: int) -> Columns:
    """The rows of a table, sorted by an integer column, in which it is from ``low`` to below ``high``.

    Only the row groups that may hold such rows are read.

    Parameters
    ----------
    path : str
        The table.
    column : str
        Its sorted column.
    low, high : int
        Half-open range.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    with _opened(path) as file:
        place = file.schema_arrow.names.index(column)
        groups = []
        for i in range(file.num_row_groups):
            bounds = file.metadata.row_group(i).column(place).statistics
            if bounds is None or not bounds.has_min_max or (bounds.min < high and bounds.max >= low):
                groups.append(i)
        table = file.read_row_groups(groups)
    columns = numpy_columns(table)
    first, last = np.searchsorted(columns[column], np.array([low, high], columns[column].dtype))
    return {name: values[first:last] for name, values in columns.items()}


def read_table(path: str, columns: Sequence[str] | None = None) -> Columns:
    """Read columns.

    Parameters
    ----------
    path : str
        The table.
    columns : sequence of str, optional
        Those that are read; by default all.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    return numpy_columns(_read(path, columns))


def pieces_of(path: str) -> Iterator[Columns]:
    """All columns, a row group at a time: as :func:`appending` has written them.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    with _opened(path) as file:
        for i in range(file.num_row_groups):
            yield numpy_columns(file.read_row_group(i))


_BATCH = 2**17


def batches_of(path: str, columns: Sequence[str]) -> Iterator[Columns]:
    """Some columns, so many rows at a time that memory does not follow the table.

    Parameters
    ----------
    path : str
        The table.
    columns : sequence of str
        Those that are read.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    with _opened(path) as file:
        for batch in file.iter_batches(_BATCH, columns=list(columns)):
            yield numpy_columns(pa.Table.from_batches([batch]))


def row_count(path: str) -> int:
    """Rows of a table.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def table_metadata(path: str) -> dict[str, str]:
    """The key-value metadata of a table.

    Raises
    ------
    InputError
        If the table is missing or damaged.
    """
    with _opened(path) as file:
        return {k.decode(): v.decode() for k, v in (file.schema_arrow.metadata or {}).items()}


def _read(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    with _opened(path) as file:
        return file.read(columns=list(columns) if columns else None)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """A table's ``ParquetFile``: read_table sets up a whole data set first, which takes longer. What breaks inside is told."""
    try:
        with on_disk(path) as there, pyarrow.parquet.ParquetFile(there) as file:
            yield file
    except (OSError, pa.ArrowInvalid) as error:
        raise _broken(path, error) from error


def _broken(path: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"table {path} cannot be read ({reason}); run the stage that makes it again with --redo")
