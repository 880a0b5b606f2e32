"""A MoBIE project for Fiji: image and labels as OME-Zarr 0.4, the objects' table, and a first view of both.

Specification: https://mobie.github.io/specs/mobie_spec.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from mitoscale.export.exported import Content, check_grey
from mitoscale.export.kind import Kind
from mitoscale.export.object_columns import NUMBERS, known_numbers, rows_of
from mitoscale.export.precomputed_volumes import objects_there
from mitoscale.export.zarr_v2 import write_pyramid
from mitoscale.stages.grey_statistics import read_grey
from mitoscale.storage.layout import write_json
from mitoscale.storage.tables import Columns, write_tsv

_VERSION = "0.3.0"
_DATASET = "volume"
_UM = 1e-3  # um in a nm: MoBIE's unit here


def write(content: Content, path: str) -> None:
    """Write a project with one dataset.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The project's folder.
    """
    dataset = os.path.join(path, _DATASET)
    images = os.path.join(dataset, "images", "ome-zarr")
    write_pyramid(content.image, os.path.join(images, "em.ome.zarr"), name="em", attributes={}, unit="micrometer")
    labels = {"image-label": {"version": "0.4"}}
    mitochondria = os.path.join(images, "mitochondria.ome.zarr")
    write_pyramid(content.labels, mitochondria, name="mitochondria", attributes=labels, unit="micrometer")
    write_tsv(os.path.join(dataset, "tables", "mitochondria", "default.tsv"), _table(content))
    write_json(os.path.join(dataset, "dataset.json"), _dataset(content))
    project = {"specVersion": _VERSION, "datasets": [_DATASET], "defaultDataset": _DATASET}
    write_json(os.path.join(path, "project.json"), {**project, "description": f"Mitochondria of {content.plan.run}"})


KIND = Kind(name="mobie", endings=(".mobie",), write=write, check=check_grey, objects=True, folder=True)


def _dataset(content: Content) -> dict[str, Any]:
    window = read_grey(content.plan).normalisation
    where = {name: {"ome.zarr": {"relativePath": f"images/ome-zarr/{name}.ome.zarr"}} for name in ("em", "mitochondria")}
    grey = {"color": "white", "contrastLimits": [window.low, window.high], "opacity": 1.0, "name": "em", "sources": ["em"]}
    objects = {"opacity": 0.5, "lut": "glasbey", "name": "mitochondria", "sources": ["mitochondria"]}
    view = {
        "uiSelectionGroup": "bookmark",
        "isExclusive": True,
        "sourceDisplays": [{"imageDisplay": grey}, {"segmentationDisplay": objects}],
    }
    table = {"tsv": {"relativePath": "tables/mitochondria"}}
    return {
        "is2D": False,
        "sources": {
            "em": {"image": {"imageData": where["em"]}},
            "mitochondria": {"segmentation": {"imageData": where["mitochondria"], "tableData": table}},
        },
        "views": {"default": view},
    }


def _table(content: Content) -> Iterator[Columns]:
    """Objects in um: an anchor to go to and the box, both within the region, then the numbers of the whole object."""
    there = objects_there(content)
    names = known_numbers(content.objects, there)
    spec, region = content.plan.spec, content.region
    for rows in rows_of(content.objects, there):
        places: dict[str, Columns] = {"anchor": {}, "bb_min": {}, "bb_max": {}}
        for i, axis in reversed(list(enumerate("zyx"))):
            low = np.maximum(rows[f"bbox_{axis}0"], region.start[i]) - 0.5
            high = np.minimum(rows[f"bbox_{axis}1"], region.stop[i]) - 0.5
            for kind, at in (("anchor", np.clip(rows[f"centroid_{axis}"], low, high)), ("bb_min", low), ("bb_max", high)):
                places[kind][f"{kind}_{axis}"] = (at * spec.spacing[i] + spec.origin[i]) * _UM
        numbers = {name: rows[NUMBERS[name][0]] * NUMBERS[name][1] for name in names}
        yield {"label_id": rows["label"], **places["anchor"], **places["bb_min"], **places["bb_max"], **numbers}
