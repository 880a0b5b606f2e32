"""Neuroglancer precomputed volumes, sharded or not.

Specification: https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed
"""

from __future__ import annotations

import json
from dataclasses import replace

from mitoscale.core.errors import InputError
from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources.reader import Kind, Look
from mitoscale.storage.sources.stored_array import StoredArray, open_stored

FILE = "info"


def open_precomputed(look: Look, reading: Reading) -> StoredArray:
    """Open the finest scale; its resolution is in nm, as the format says.

    Parameters
    ----------
    look : Look
        What the path leads to.
    reading : Reading
        What the user has decided of it.
    """
    info = look.metadata[FILE]
    found = open_stored(look.path, "neuroglancer_precomputed", "xyzc", reading, scale_index=0)
    try:
        scale = info["scales"][0]
        x, y, z = (float(s) for s in scale["resolution"])
        shift = [float(v) for v in scale.get("voxel_offset", (0, 0, 0))]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{look.path}/info is damaged ({type(error).__name__} {error}); restore it") from error
    origin = (shift[2] * z, shift[1] * y, shift[0] * x)
    return replace(found, about=json.dumps(scale, sort_keys=True), spacing=(z, y, x), origin=origin)


KIND = Kind(name="Neuroglancer precomputed", recognises=lambda look: "scales" in look.metadata.get(FILE, {}), open=open_precomputed)
