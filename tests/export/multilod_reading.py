"""Reading sharded multi-resolution meshes by the letter of Neuroglancer's specification, apart from the code that writes them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import DracoPy
import numpy as np


def read_meshes(folder: Path) -> dict[int, list[tuple[np.ndarray, np.ndarray]]]:
    """Of each object its levels of detail: vertices x, y, z in nm and triangles."""
    info = json.loads((folder / "info").read_text())
    sharding = info["sharding"]
    assert info["@type"] == "neuroglancer_multilod_draco" and sharding["hash"] == "identity"
    digits, meshes = -(-sharding["shard_bits"] // 4), {}
    for path in folder.glob("*.shard"):
        content = path.read_bytes()
        first = 16 << sharding["minishard_bits"]
        for minishard in range(1 << sharding["minishard_bits"]):
            start, end = struct.unpack_from("<QQ", content, 16 * minishard)
            table = np.frombuffer(content[first + start : first + end], "<u8").reshape(3, -1).astype(int)
            place = first
            for key, gap, size in zip(np.cumsum(table[0]), table[1], table[2], strict=True):
                number = key >> (sharding["preshift_bits"] + sharding["minishard_bits"])
                assert path.name == f"{number:x}".zfill(digits) + ".shard"
                place += gap
                meshes[int(key)] = _object(content, place, content[place : place + size], info["vertex_quantization_bits"])
                place += size
    return meshes


def _object(content: bytes, place: int, manifest: bytes, bits: int) -> list[tuple[np.ndarray, np.ndarray]]:
    cell, corner = np.frombuffer(manifest, "<f4", 3, 0), np.frombuffer(manifest, "<f4", 3, 12)
    (count,) = struct.unpack_from("<I", manifest, 24)
    scales = np.frombuffer(manifest, "<f4", count, 28)
    assert (np.diff(scales) > 0).all()
    offsets = np.frombuffer(manifest, "<f4", 3 * count, 28 + 4 * count).reshape(count, 3)
    fragments = np.frombuffer(manifest, "<u4", count, 28 + 16 * count)
    assert (fragments == 1).all()
    rows = np.frombuffer(manifest, "<u4", 4 * count, 28 + 20 * count).reshape(count, 4)
    assert len(manifest) == 28 + 36 * count
    begin, lods = place - int(rows[:, 3].sum()), []
    for lod, (x, y, z, size) in enumerate(rows.tolist()):
        mesh = DracoPy.decode(content[begin : begin + size])
        begin += size
        steps = np.asarray(mesh.points)
        assert steps.dtype == np.uint32 and steps.max() < 2**bits
        if lod:  # a coarser cell is drawn in eighths: none may cross to the next
            assert (steps < 2 ** (bits - 1)).all()
        place_in_grid = np.array([x, y, z]) + steps / (2**bits - 1)
        lods.append((corner + offsets[lod] + cell * 2**lod * place_in_grid, np.asarray(mesh.faces)))
    assert begin == place
    return lods
