"""Rows of many blocks' tables brought together by label, without holding them all: an external merge sort.

Tables are merged a batch at a time into sorted runs on disk; then a range of labels is read from all runs and merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import Columns, appending, read_rows

_BATCH = 2048
"""Tables merged at once."""

_GROUP = 1 << 16
"""Rows of a run that are read together."""


class SortedRows:
    """The rows of tables that have a column ``label``, merged.

    Parameters
    ----------
    tables : iterable of dict
        Columns of each table, given one by one.
    merge : callable
        Brings several tables together as one that is sorted by label; associative.
    scratch : str
        Folder for the runs; made anew.
    batch : int
        Tables that are held at once.
    """

    def __init__(
        self, tables: Iterable[Columns], merge: Callable[[list[Columns]], Columns], scratch: str, batch: int = _BATCH
    ) -> None:
        self._merge = merge
        self._runs: list[str] = []
        self.last = 0
        """The largest label, 0 where there is none."""
        remove_tree(scratch)
        left = iter(tables)
        while together := list(islice(left, batch)):
            run = merge(together)
            self.last = max(self.last, int(run["label"].max(initial=0)))
            self._runs.append(str(Path(scratch, f"{len(self._runs):06d}.parquet")))
            with appending(self._runs[-1]) as append:
                for start in range(0, max(len(run["label"]), 1), _GROUP):
                    append({name: values[start : start + _GROUP] for name, values in run.items()})

    def rows(self, low: int, high: int) -> Columns:
        """The merged rows with labels from ``low`` to below ``high``.

        Parameters
        ----------
        low, high : int
            Half-open range of labels.
        """
        return self._merge([read_rows(run, "label", low, high) for run in self._runs])


def label_ranges(last: int, step: int = 1 << 17) -> Iterator[tuple[int, int]]:
    """Half-open ranges that cover the labels 1 .. ``last``; one where there is none.

    Parameters
    ----------
    last : int
        Largest label.
    step : int
        Labels of a range.

    Examples
    --------
    >>> list(label_ranges(5, 3)), list(label_ranges(0, 3))
    ([(1, 4), (4, 7)], [(1, 4)])
    """
    yield from ((low, low + step) for low in range(1, max(last, 1) + 1, step))
