"""One table of many tasks as one: what costs time for each task is done once for a super-block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mitoscale.storage.tables import Columns


class Stacked(NamedTuple):
    """Rows of several tables, one table after the other."""

    columns: Columns
    """(N,) values of each column."""
    owner: np.ndarray
    """(N,) int64 the place of the table each row is from."""


def stacked(tables: Sequence[Columns]) -> Stacked:
    """Put tables with the same columns one behind the other.

    Parameters
    ----------
    tables : sequence of dict
        At least one.

    Examples
    --------
    >>> both = stacked([{"a": np.array([5, 6])}, {"a": np.array([7])}])
    >>> both.columns["a"].tolist(), both.owner.tolist()
    ([5, 6, 7], [0, 0, 1])
    """
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    lengths = [len(next(iter(table.values()))) for table in tables]
    return Stacked(columns, np.repeat(np.arange(len(tables)), lengths))
