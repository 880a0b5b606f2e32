"""The table of objects as Neuroglancer searches, sorts and colours by it: a column at a time, so that only one is held.

Specification: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/segment_properties.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TextIO

import numpy as np

from mitoscale.export.object_columns import NUMBERS, known_numbers, rows_of
from mitoscale.storage.tables import pieces_of

TAGS = {
    "touches_border": "cut by the volume's border",
    "touches_padding": "beside padding",
    "touches_replaced": "in a slice for which neighbours stand",
    "touches_lost": "beside a block that was given up",
}
"""Columns that are true or false."""


def write_properties(table: str, folder: str, there: np.ndarray) -> None:
    """Write ``info``; figures are those of whole objects, whatever region is exported.

    Parameters
    ----------
    table : str
        Table of objects.
    folder : str
        Where; is made.
    there : (N,) uint64, ascending
        The objects that are listed.
    """
    os.makedirs(folder)
    columns = next(pieces_of(table), {})
    with open(os.path.join(folder, "info"), "w", encoding="utf-8") as file:
        file.write('{"@type": "neuroglancer_segment_properties", "inline": {"ids": [')
        _write(file, (json.dumps(str(label)) for rows in rows_of(table, there) for label in rows["label"].tolist()))
        file.write('], "properties": [')
        tags = [name for name in TAGS if name in columns]
        _begin(file, {"id": "tags", "type": "tags", "tags": tags, "tag_descriptions": [TAGS[name] for name in tags]})
        _write(file, _tags(table, tags, there))
        for name in known_numbers(table, there):
            column, factor, description = NUMBERS[name]
            file.write("]}, ")
            _begin(file, {"id": name, "type": "number", "data_type": "float32", "description": description})
            values = (np.float32(value * factor) for rows in rows_of(table, there) for value in rows[column].tolist())
            _write(file, (repr(float(value)) for value in values))
        file.write("]}]}}\n")


def _begin(file: TextIO, head: dict[str, object]) -> None:
    """One property up to its values."""
    file.write(json.dumps(head)[:-1] + ', "values": [')


def _write(file: TextIO, texts: Iterator[str]) -> None:
    for number, text in enumerate(texts):
        file.write(f", {text}" if number else text)


def _tags(table: str, names: list[str], there: np.ndarray) -> Iterator[str]:
    for rows in rows_of(table, there):
        for row in zip(*(rows[name].tolist() for name in names), strict=True):
            yield json.dumps([number for number, value in enumerate(row) if value])
