"""The table of objects as Neuroglancer searches, sorts and colours by it: a column at a time, so that only one is held.

Specification: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/segment_properties.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TextIO

import numpy as np

from mitoscale.storage.tables import pieces_of

NUMBERS = {
    "volume_um3": ("volume_nm3", 1e-9, "Volume in cubic micrometres"),
    "surface_um2": ("surface_nm2", 1e-6, "Area of the surface in square micrometres"),
    "length_um": ("length_nm", 1e-3, "End-to-end length along the middle line in micrometres"),
    "sphericity": ("sphericity", 1, "1 for a ball, less for anything else"),
    "slices": ("n_slices", 1, "From the first slice to the last"),
    "contacts": ("contacts", 1, "Other objects it touches"),
    "mean_intensity": ("mean_intensity", 1, "Mean grey value"),
    "mean_foreground": ("mean_foreground", 1, "The detector's mean probability"),
    "segmenter_score": ("segmenter_score", 1, "Mean score of the segmenter's masks"),
    "cell": ("cell", 1, "The cell in which most of it lies"),
}
"""Name -> column, factor, description. What a column lacks for any object is left out, because JSON has no NaN."""

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
    names = _columns(table)
    with open(os.path.join(folder, "info"), "w", encoding="utf-8") as file:
        file.write('{"@type": "neuroglancer_segment_properties", "inline": {"ids": [')
        _write(file, (json.dumps(str(label)) for label in _values(table, "label", there)))
        file.write('], "properties": [')
        tags = [name for name in TAGS if name in names]
        head = {"id": "tags", "type": "tags", "tags": tags, "tag_descriptions": [TAGS[name] for name in tags]}
        file.write(json.dumps(head)[:-1] + ', "values": [')
        _write(file, _tags(table, tags, there))
        file.write("]}")
        for name, (column, factor, description) in NUMBERS.items():
            if column in names and all(np.isfinite(value) for value in _values(table, column, there)):
                head = {"id": name, "type": "number", "data_type": "float32", "description": description}
                file.write(", " + json.dumps(head)[:-1] + ', "values": [')
                _write(file, (repr(float(np.float32(value * factor))) for value in _values(table, column, there)))
                file.write("]}")
        file.write("]}}\n")


def _write(file: TextIO, texts: Iterator[str]) -> None:
    for number, text in enumerate(texts):
        file.write(f", {text}" if number else text)


def _columns(table: str) -> set[str]:
    return set(next(pieces_of(table), {}))


def _values(table: str, column: str, there: np.ndarray) -> Iterator[float]:
    for piece in pieces_of(table):
        yield from piece[column][np.isin(piece["label"].astype(np.uint64), there)].tolist()


def _tags(table: str, names: list[str], there: np.ndarray) -> Iterator[str]:
    for piece in pieces_of(table):
        wanted = np.isin(piece["label"].astype(np.uint64), there)
        for row in zip(*(piece[name][wanted].tolist() for name in names), strict=True):
            yield json.dumps([number for number, value in enumerate(row) if value])
