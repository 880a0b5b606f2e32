"""Rows put in order by several columns without holding them all: an external merge sort.

Rows are collected until there are many, then sorted and written as a run; the runs are read side by side and merged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import Columns, appending, pieces_of

_RUN = 1 << 16
"""Rows that are held before they are written as a run."""

_PIECES = 16
"""Pieces of a run, one of which is held of each while they are merged."""


class SpilledRows:
    """Rows that are added in any order and read back sorted.

    Parameters
    ----------
    keys : sequence of str
        Columns to sort by, the first counts most; no two rows have all of them alike, and none is NaN.
    scratch : str
        Folder for the runs; made anew.
    run : int
        Rows that are held at once.
    """

    def __init__(self, keys: Sequence[str], scratch: str, run: int = _RUN) -> None:
        self._keys, self._scratch, self._most = keys, scratch, run
        self._held: list[Columns] = []
        self._count = 0
        self._runs: list[str] = []
        remove_tree(scratch)

    def add(self, rows: Columns) -> None:
        """Take some rows; all have the same columns."""
        self._held.append(rows)
        self._count += len(rows[self._keys[0]])
        if self._count >= self._most:
            self._spill()

    def in_order(self) -> Iterator[Columns]:
        """All rows, sorted, some at a time; nothing where none was added."""
        if self._count:
            self._spill()
        runs = [pieces_of(path) for path in self._runs]
        heads = [next(run) for run in runs]
        while runs:
            bound = min(self._key(head, -1) for head in heads)  # whatever is still to come lies behind it
            smaller = [self._before(head, bound) for head in heads]
            yield self._sorted([{n: v[:c] for n, v in head.items()} for head, c in zip(heads, smaller, strict=True) if c])
            rests = [{n: v[c:] for n, v in head.items()} for head, c in zip(heads, smaller, strict=True)]
            heads = [rest if len(self._first(rest)) else next(run, rest) for rest, run in zip(rests, runs, strict=True)]
            left = [i for i, head in enumerate(heads) if len(self._first(head))]
            runs, heads = [runs[i] for i in left], [heads[i] for i in left]

    def remove(self) -> None:
        """Remove the runs."""
        remove_tree(self._scratch)

    def _spill(self) -> None:
        rows = self._sorted(self._held)
        self._runs.append(str(Path(self._scratch, f"{len(self._runs):06d}.parquet")))
        step = max(1, self._most // _PIECES)
        with appending(self._runs[-1]) as append:
            for start in range(0, self._count, step):
                append({name: values[start : start + step] for name, values in rows.items()})
        self._held, self._count = [], 0

    def _sorted(self, parts: list[Columns]) -> Columns:
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.lexsort([rows[key] for key in reversed(self._keys)])
        return {name: values[order] for name, values in rows.items()}

    def _first(self, rows: Columns) -> np.ndarray:
        return rows[self._keys[0]]

    def _before(self, rows: Columns, bound: tuple[Any, ...]) -> int:
        """How many of some sorted rows do not lie behind a bound."""
        return bisect_right(range(len(self._first(rows))), bound, key=lambda at: self._key(rows, at))

    def _key(self, rows: Columns, at: int) -> tuple[Any, ...]:
        return tuple(rows[key][at].item() for key in self._keys)
