"""Columns of NumPy arrays as Arrow tables and back, by their buffers: pyarrow's own way imports pandas, in every worker."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa


def arrow_table(columns: Mapping[str, np.ndarray]) -> pa.Table:
    """A table of the columns, which are (N,) numbers, booleans or texts.

    Examples
    --------
    >>> table = arrow_table({"id": np.array([3, 4], np.uint64), "edge": np.array([True, False]), "state": np.array(["a", "b"])})
    >>> table.schema.types
    [DataType(uint64), DataType(bool), DataType(string)]
    >>> {name: column.tolist() for name, column in numpy_columns(table).items()}
    {'id': [3, 4], 'edge': [True, False], 'state': ['a', 'b']}
    """
    return pa.Table.from_arrays([_arrow(np.asarray(values)) for values in columns.values()], names=list(columns))


def numpy_columns(table: pa.Table) -> dict[str, np.ndarray]:
    """The columns of a table; those with missing values as :meth:`pyarrow.ChunkedArray.to_numpy` gives them."""
    return {name: _numpy(table[name]) for name in table.column_names}


def _arrow(values: np.ndarray) -> pa.Array:
    kind = values.dtype
    if kind.kind in "OU":
        texts = [str(text).encode() for text in values]
        ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
        return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(texts))])
    if kind.kind == "b":
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])
    native = np.ascontiguousarray(values, kind.newbyteorder("="))
    return pa.Array.from_buffers(pa.from_numpy_dtype(native.dtype), len(native), [None, pa.py_buffer(native)])


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    if column.null_count:
        return column.to_numpy()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = np.empty(len(column), object)
        texts[:] = column.to_pylist()
        return texts
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return column.to_numpy()
    dtype = np.dtype(bool if pa.types.is_boolean(kind) else kind.to_pandas_dtype())
    parts = [_part(chunk, dtype) for chunk in column.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype), *parts])


def _part(chunk: pa.Array, dtype: np.dtype) -> np.ndarray:
    data, begin, stop = chunk.buffers()[1], chunk.offset, chunk.offset + len(chunk)
    if not len(chunk):
        return np.zeros(0, dtype)
    if dtype.kind == "b":
        return np.unpackbits(np.frombuffer(data, np.uint8), count=stop, bitorder="little")[begin:].astype(bool)
    return np.frombuffer(data, dtype, count=stop)[begin:]
