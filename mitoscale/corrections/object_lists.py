"""What a viewer offers to jump to: objects and places that are worth a look, and any object's row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.quantities import volume_text
from mitoscale.ops.object_doubt import object_doubt
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import Columns, read_table

_LISTED = 100
"""Rows of a list."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where to jump."""

    text: str
    """What stands in the list."""
    position: tuple[float, float, float]
    """Voxel (z, y, x)."""
    label: int = 0
    """The object there; 0: none is meant."""


@dataclass(frozen=True)
class ObjectLists:
    """A run's tables as lists; empty where a table is not there yet."""

    objects: Columns
    """Table of objects, sorted by label."""
    edges: Columns
    """The seam report."""

    @classmethod
    def of_objects(cls, run: str) -> ObjectLists:
        """Read a run's table of objects alone."""
        return cls(_table(RunFolder(run).objects), {})

    @classmethod
    def of(cls, run: str) -> ObjectLists:
        """Read a run's tables."""
        folder = RunFolder(run)
        return cls(_table(folder.objects), _table(folder.edges_table))

    def lists(self, gone: Iterable[int] = ()) -> dict[str, list[Place]]:
        """Each list's title and places.

        Parameters
        ----------
        gone : iterable of int
            Objects that are not listed: a correction has removed or changed them, and they are no longer as the table says.
        """
        removed = np.fromiter(gone, np.uint64)
        if len(removed):
            kept = ~np.isin(self.objects["label"], removed)
            return ObjectLists({name: values[kept] for name, values in self.objects.items()}, self.edges).lists()
        found: dict[str, list[Place]] = {}
        if self.objects and len(self.objects["label"]):
            volume, agreement = self.objects["volume_nm3"], self.objects["detector_agreement"]
            found["largest"] = self._ranked(-volume, volume, volume_text)
            found["smallest"] = self._ranked(volume, volume, volume_text)
            score = self.objects["segmenter_score"]
            doubt = object_doubt(self.objects["mean_foreground"], agreement, score)
            found["in doubt"] = self._ranked(-doubt, doubt, "doubt {:.2f}".format)
            found["low agreement"] = self._ranked(agreement, agreement, "{:.0%} foreground".format)
            if np.isfinite(score).any():
                found["low score"] = self._ranked(np.where(np.isfinite(score), score, np.inf), score, "score {:.2f}".format)
        if self.edges and len(self.edges["z"]):
            found["seam suspects"] = [
                Place(
                    text=f"{self.edges['kind'][i]} at {self.edges['face'][i]}",
                    position=(float(self.edges["z"][i]), float(self.edges["y"][i]), float(self.edges["x"][i])),
                )
                for i in range(min(_LISTED, len(self.edges["z"])))
            ]
        return found

    def row(self, label: int) -> dict[str, Any]:
        """An object's table row, None where a number is not known; empty where there is no such object."""
        at = self._index(label)
        values = {} if at is None else {name: column[at].item() for name, column in self.objects.items()}
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}

    def box(self, label: int) -> Region | None:
        """The box of an object in voxels."""
        at = self._index(label)
        if at is None:
            return None
        low, high = ([int(self.objects[f"bbox_{a}{side}"][at]) for a in "zyx"] for side in (0, 1))
        return Region(start=(low[0], low[1], low[2]), stop=(high[0], high[1], high[2]))

    def centroid(self, label: int) -> tuple[float, float, float] | None:
        """The middle of an object, voxel (z, y, x)."""
        at = self._index(label)
        return None if at is None else self._centroid(at)

    def _ranked(self, key: np.ndarray, shown: np.ndarray, form: Callable[[float], str]) -> list[Place]:
        first = np.argpartition(key, min(_LISTED, len(key)) - 1)[:_LISTED]
        order: Sequence[int] = first[np.lexsort((self.objects["label"][first], key[first]))].tolist()
        labels = self.objects["label"]
        return [
            Place(text=f"{labels[i]}: {form(float(shown[i]))}", position=self._centroid(i), label=int(labels[i])) for i in order
        ]

    def _centroid(self, at: int) -> tuple[float, float, float]:
        z, y, x = (float(self.objects[f"centroid_{a}"][at]) for a in "zyx")
        return z, y, x

    def _index(self, label: int) -> int | None:
        labels = self.objects.get("label", np.zeros(0, np.uint64))
        at = int(np.searchsorted(labels, np.uint64(label)))
        return at if at < len(labels) and int(labels[at]) == label else None


def _table(path: str) -> Columns:
    try:
        return read_table(path)
    except InputError:
        return {}
