"""Neuroglancer precomputed: image, labels, a mesh of each object in several resolutions, and a table to search in.

Specification: https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.export.chunk_copy import copy
from mitoscale.export.exported import Content
from mitoscale.export.kind import Kind
from mitoscale.export.level import Level
from mitoscale.export.object_meshes import write_meshes
from mitoscale.export.renumber import labels_of
from mitoscale.export.segment_properties import write_properties
from mitoscale.storage.layout import read_json, write_json
from mitoscale.storage.new_chunked import create_precomputed, precomputed_scale
from mitoscale.storage.tables import pieces_of

_LIBRARIES = ("DracoPy", "fast_simplification")


def check(content: Content) -> None:
    """Raise where a library is missing.

    Raises
    ------
    InputError
        With what to do.
    """
    lacking = [name for name in _LIBRARIES if find_spec(name) is None]
    if lacking:
        raise InputError(f"meshes need {' and '.join(lacking)}, not installed here; start pip install 'mitoscale[export]'")


def write(content: Content, path: str) -> None:
    """Write ``image`` and ``labels``, with ``labels/mesh`` and ``labels/segment_properties``.

    Parameters
    ----------
    content : Content
        What is written.
    path : str
        The folder.
    """
    labels = os.path.join(path, "labels")
    write_volume(content.image, os.path.join(path, "image"), "image")
    write_volume(content.labels, labels, "segmentation")
    there = objects_there(content)
    os.makedirs(os.path.join(labels, "mesh"))
    write_meshes(content, os.path.join(labels, "mesh"), there)
    write_properties(content.objects, os.path.join(labels, "segment_properties"), there)
    info = os.path.join(labels, "info")
    write_json(info, {**read_json(info), "mesh": "mesh", "segment_properties": "segment_properties"})


def write_volume(levels: Sequence[Level], path: str, kind: str) -> None:
    """Write a volume with all its scales; its corner lies where it does in the run.

    Parameters
    ----------
    levels : sequence of Level
        Finest first.
    path : str
        The volume's folder.
    kind : str
        ``image`` or ``segmentation``.
    """
    encoding = "compressed_segmentation" if kind == "segmentation" else "raw"
    for level in levels:
        scale = precomputed_scale(level.shape, level.part.start, level.spacing, encoding)
        copy(level, create_precomputed(path, scale, level.dtype, kind))


def objects_there(content: Content) -> np.ndarray:
    """(N,) uint64 ascending: the objects of which the finest exported level has a voxel."""
    if content.first == 0 and content.region.intersection(content.plan.region) == content.plan.region:
        labels = [piece["label"] for piece in pieces_of(content.objects)]
        return np.sort(np.concatenate([np.zeros(0, np.uint64), *labels]).astype(np.uint64))
    return labels_of(content.labels[:1])


KIND = Kind(name="precomputed", endings=(".precomputed",), write=write, check=check, objects=True, folder=True)
