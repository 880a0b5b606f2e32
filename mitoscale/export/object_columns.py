"""The columns of the table of objects that other viewers show, under names and in units that people read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mitoscale.storage.tables import Columns, pieces_of

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
"""Name -> column, factor, description."""


def rows_of(table: str, there: np.ndarray) -> Iterator[Columns]:
    """The rows of some objects, a piece of the table at a time.

    Parameters
    ----------
    table : str
        Table of objects, sorted by label.
    there : (N,) uint64, ascending
        The objects that are wanted.
    """
    for piece in pieces_of(table):
        wanted = np.isin(piece["label"].astype(np.uint64), there)
        yield {name: values[wanted] for name, values in piece.items()}


def known_numbers(table: str, there: np.ndarray) -> list[str]:
    """Names of the numbers that all of these objects have: JSON and MoBIE's tables know no NaN.

    Parameters
    ----------
    table : str
        Table of objects, sorted by label.
    there : (N,) uint64, ascending
        The objects that are wanted.
    """
    names = list(NUMBERS)
    for rows in rows_of(table, there):
        names = [name for name in names if NUMBERS[name][0] in rows and np.isfinite(rows[NUMBERS[name][0]]).all()]
    return names
