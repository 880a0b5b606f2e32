"""N5 with its pyramid as ``s0``, ``s1``, ..., described as n5-viewer, BigDataViewer and COSEM's tools look for it.

Specification: https://github.com/saalfeldlab/n5, and https://github.com/janelia-cosem/schemas for ``transform``.
"""

from __future__ import annotations

import os
from typing import Any

from mitoscale.export.chunk_copy import chunk_of, copy
from mitoscale.export.exported import Content
from mitoscale.export.kind import Kind
from mitoscale.export.level import Level
from mitoscale.storage.layout import read_json, write_json
from mitoscale.storage.new_chunked import create_n5

_VERSION = "2.5.0"
_FILE = "attributes.json"


def write(content: Content, path: str) -> None:
    """Write the labels with their pyramid.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The container, which is the group of the pyramid too.
    """
    levels = content.labels
    factors = [[c // f for c, f in zip(level.factor, levels[0].factor, strict=True)][::-1] for level in levels]
    for number, (level, factor) in enumerate(zip(levels, factors, strict=True)):
        array = os.path.join(path, f"s{number}")
        copy(level, create_n5(array, level.shape, level.dtype, chunk_of(level)))
        own = read_json(os.path.join(array, _FILE))
        write_json(os.path.join(array, _FILE), {**own, **_place(level), "downsamplingFactors": factor})
    datasets = [{"path": f"s{number}", "transform": _place(level)["transform"]} for number, level in enumerate(levels)]
    root = {
        "n5": _VERSION,
        "scales": factors,
        "downsamplingFactors": factors,
        "pixelResolution": _place(levels[0])["pixelResolution"],
        "multiscales": [{"name": "mitochondria", "datasets": datasets}],
    }
    write_json(os.path.join(path, _FILE), root)


KIND = Kind(name="n5", endings=(".n5",), write=write, folder=True)


def _place(level: Level) -> dict[str, Any]:
    """Voxel size (x, y, z, as N5 counts), and the same with the first voxel's place as COSEM has it (z, y, x)."""
    transform = {"axes": list("zyx"), "units": ["nm"] * 3, "scale": list(level.spacing), "translate": list(level.origin)}
    return {"pixelResolution": {"dimensions": list(level.spacing[::-1]), "unit": "nm"}, "transform": transform}
