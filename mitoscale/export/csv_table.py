"""A table as comma-separated text."""

from __future__ import annotations

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.export.exported import Content
from mitoscale.export.kind import Kind
from mitoscale.storage.tables import Columns, read_table, write_csv


def write_table(content: Content, path: str) -> None:
    """Write a table, or what of it lies in the region.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The file.
    """
    columns = read_table(content.table)
    if content.region != Region.of_shape(content.plan.spec.shape):
        inside = _inside(columns, content.region)
        columns = {name: values[inside] for name, values in columns.items()}
    write_csv(path, columns)


KIND = Kind(name="csv", endings=(".csv",), write=write_table, labels=False)


def _inside(columns: Columns, region: Region) -> np.ndarray:
    """(N,) bool: the rows of objects whose box meets the region, or of what has one place that lies in it."""
    inside = np.ones(len(next(iter(columns.values()))), bool)
    for axis, low, high in zip("zyx", region.start, region.stop, strict=True):
        if f"bbox_{axis}0" in columns:
            inside &= (columns[f"bbox_{axis}0"] < high) & (columns[f"bbox_{axis}1"] > low)
        elif axis in columns:
            inside &= (columns[axis] >= low) & (columns[axis] < high)
        else:
            raise InputError("the rows of that table have no place; leave --region away")
    return inside
