"""A run's detections by place, read when the first of them is asked for: there may be many millions."""

from __future__ import annotations

import threading

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import batches_of, row_count


class Detections:
    """The table of detections.

    Parameters
    ----------
    run : str
        The run folder.
    """

    def __init__(self, run: str) -> None:
        self._path = RunFolder(run).detections
        self._lock = threading.Lock()
        self._points: np.ndarray | None = None

    def count(self) -> int:
        """How many there are; 0 where the table is not there yet."""
        try:
            return row_count(self._path)
        except InputError:
            return 0

    def within(self, region: Region) -> np.ndarray:
        """(N, 3) float32 detections z, y, x in a region."""
        with self._lock:  # once, though a browser asks for many places at the same time
            if self._points is None:
                self._points = self._read()
        first, last = np.searchsorted(self._points[0], [region.start[0], region.stop[0]])
        points = self._points[:, first:last].T
        inside = (points >= np.array(region.start)) & (points < np.array(region.stop))
        return points[inside.all(axis=1)]

    def _read(self) -> np.ndarray:
        """(3, N) float32 z, y, x, sorted by z: whole slices up to 2^24 are exact."""
        try:
            pieces = [np.stack([rows[a].astype(np.float32) for a in "zyx"]) for rows in batches_of(self._path, ("z", "y", "x"))]
        except InputError:
            pieces = []
        points = np.concatenate([np.zeros((3, 0), np.float32), *pieces], axis=1)
        return points[:, np.argsort(points[0], kind="stable")]
