"""Neuroglancer's sharded files: values of many uint64 keys in few files; here of rising keys, each file with one index.

Specification: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

PRESHIFT_BITS = 9
"""So many of a key's lowest bits do not tell its file: 512 keys that follow each other share one."""
_INDEX_BYTES = 16


def shard_bits(highest: int) -> int:
    """Bits of the number of a file.

    Parameters
    ----------
    highest : int
        The highest key.

    Examples
    --------
    >>> shard_bits(511), shard_bits(512), shard_bits(100_000)
    (0, 1, 8)
    """
    return max(0, highest.bit_length() - PRESHIFT_BITS)


def write_shards(folder: str, values: Iterable[tuple[int, bytes, bytes]], bits: int) -> Iterator[int]:
    """Write the files of a sharded folder, one value at a time; nothing but a file's index is held.

    Parameters
    ----------
    folder : str
        Where; it is there.
    values : iterable of (key, before, value)
        Keys rise; ``before`` are bytes that lie right before the value, and that the index does not know.
    bits : int
        From :func:`shard_bits`.

    Yields
    ------
    int
        Each key, when it is written.
    """
    for number, group in groupby(values, key=lambda entry: entry[0] >> PRESHIFT_BITS):
        with open(os.path.join(folder, f"{number:0{-(-bits // 4)}x}.shard"), "wb") as file:
            file.write(bytes(_INDEX_BYTES))
            rows = []
            for key, before, value in group:
                file.write(before)
                file.write(value)
                rows.append((key, len(before), len(value)))
                yield key
            keys, gaps, sizes = np.array(rows, "<u8").T
            index = np.stack([np.diff(keys, prepend=np.uint64(0)), gaps, sizes]).astype("<u8")  # what is between them and the last
            end = file.tell() - _INDEX_BYTES
            file.write(index.tobytes())
            file.seek(0)
            file.write(np.array([end, end + index.nbytes], "<u8").tobytes())
