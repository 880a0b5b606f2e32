"""Meshes in Neuroglancer's multi-resolution format: for each object a manifest and its levels of detail, encoded with Draco.

Each level of detail is one fragment, in the first cell of the octree: mitochondria are small, and no level needs to be cut.
Specification: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

BITS = 16
"""Of each quantized coordinate."""
_LEVEL = 7  # of 10: Draco's effort
_MARGIN = 1.001  # no vertex may lie beyond the middle of a coarser cell


def mesh_info(shard_bits: int, preshift_bits: int) -> dict[str, Any]:
    """The ``info`` of a folder of such meshes.

    Parameters
    ----------
    shard_bits : int
        Bits of a shard's number.
    preshift_bits : int
        Lowest bits of a label that do not tell the shard.
    """
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "hash": "identity",
        "preshift_bits": preshift_bits,
        "minishard_bits": 0,
        "shard_bits": shard_bits,
        "minishard_index_encoding": "raw",
        "data_encoding": "raw",
    }
    return {
        "@type": "neuroglancer_multilod_draco",
        "vertex_quantization_bits": BITS,
        "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
        "lod_scale_multiplier": 1,
        "sharding": sharding,
    }


def encoded(lods: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[bytes, bytes]:
    """Fragments and manifest of one object.

    Parameters
    ----------
    lods : sequence of (vertices, triangles)
        Finest first; vertices (N, 3) x, y, z in nm, triangles (M, 3).

    Returns
    -------
    fragments : bytes
        Of all levels of detail, one after another.
    manifest : bytes
        What tells them apart.
    """
    import DracoPy

    corner = np.min([vertices.min(0) for vertices, _ in lods], axis=0).astype("<f4")
    extent = np.max([vertices.max(0) for vertices, _ in lods], axis=0) - corner
    cell = (np.maximum(extent, extent.max() * 1e-3) * _MARGIN).astype("<f4")
    most = 2**BITS - 1
    fragments, scales = [], np.zeros(len(lods), "<f4")
    for lod, (vertices, triangles) in enumerate(lods):
        steps = np.rint((vertices.astype(np.float64) - corner) / (cell.astype(np.float64) * 2**lod) * most)
        fragments.append(
            DracoPy.encode(
                np.clip(steps, 0, most).astype(np.uint32),
                triangles,
                quantization_bits=BITS,
                compression_level=_LEVEL,
                quantization_range=most,
                quantization_origin=np.zeros(3),
            )
        )
        scales[lod] = max(_edge(vertices, triangles), 1.01 * scales[lod - 1] if lod else 0.0)
    count = len(lods)
    manifest = b"".join(
        [
            cell.tobytes(),
            corner.tobytes(),
            struct.pack("<I", count),
            scales.tobytes(),
            np.zeros((count, 3), "<f4").tobytes(),  # vertex_offsets
            np.ones(count, "<u4").tobytes(),  # fragments of each level of detail
            *(np.array([0, 0, 0, len(fragment)], "<u4").tobytes() for fragment in fragments),  # where they are, and their bytes
        ]
    )
    return b"".join(fragments), manifest


def _edge(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Typical edge of a triangle: what a viewer takes for the size of the smallest detail."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).mean() / 2
    return float(np.sqrt(area * 4 / np.sqrt(3)))
