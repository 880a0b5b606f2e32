"""A reader for napari: a run folder that is dragged in shows image, labels with their features, and detections.

napari itself is not imported: a reader gives arrays and their settings as tuples (https://napari.org/stable/plugins).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mitoscale.api.levels import Levels
from mitoscale.api.opened import OpenedRun, open_run
from mitoscale.core.errors import InputError
from mitoscale.storage.layout import RunFolder

LayerData = tuple[Any, dict[str, Any], str]
"""Data, settings and kind of a layer."""


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """What reads a path; None where it is no run folder, so that napari asks another plugin."""
    first = path if isinstance(path, str) else path[0]
    return read_run if Path(RunFolder(os.path.abspath(first)).run_json).is_file() else None


def read_run(path: str | list[str]) -> list[LayerData]:
    """The layers of run folders: what is there by now of image, labels and detections."""
    return [layer for one in ([path] if isinstance(path, str) else path) for layer in _layers(open_run(one))]


def _layers(run: OpenedRun) -> list[LayerData]:
    name = Path(run.path).name
    layers: list[LayerData] = [_volume(run.image, f"{name} image", "image")]
    try:
        labels, settings, kind = _volume(run.labels, f"{name} mitochondria", "labels")
    except InputError:  # the run is not that far
        return layers
    try:
        objects = run.objects.reset_index(drop=True)
        settings["features"] = objects.assign(index=objects["label"].astype("int64"))  # by which napari finds a label's row
    except InputError:
        pass
    layers.append((labels, {**settings, "opacity": 0.5}, kind))
    try:
        points = run.detections
    except InputError:
        return layers
    look = {"name": f"{name} detections", "scale": run.voxel_size, "size": 6, "face_color": "white", "visible": False}
    layers.append((points[["z", "y", "x"]].to_numpy(float), {**look, "features": points[["score"]]}, "points"))
    return layers


def _volume(levels: Levels, name: str, kind: str) -> LayerData:
    """A pyramid; its scale is that of the finest level, and voxel 0 has its middle at 0 as in the tables."""
    data = list(levels) if len(levels) > 1 else levels[0]
    return data, {"name": name, "scale": levels.spacings[0], "multiscale": len(levels) > 1}, kind
