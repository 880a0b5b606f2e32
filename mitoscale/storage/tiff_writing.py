"""Writing a volume as a TIFF stack, with its voxel size in the way ImageJ keeps it."""

from __future__ import annotations

import numpy as np
import tifffile

from mitoscale.core.geometry import Spacing
from mitoscale.storage.atomic import replacing

_LARGEST = 2**32 - 2**25
"""Bytes of voxels that ImageJ's format can hold; the rest of its 4 GB is for metadata."""


def write_tiff(path: str, volume: np.ndarray, spacing: Spacing) -> None:
    """Write a multi-page TIFF, atomically.

    Parameters
    ----------
    path : str
        The file.
    volume : (Z, Y, X)
        Grey values or labels; uint8, uint16 or float32 below 4 GB, or else it is a plain BigTIFF without its voxel size.
    spacing : (z, y, x)
        Voxel size in nm; y and x are the same in ImageJ's metadata only where they are equal.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    with replacing(path) as temporary:
        if volume.dtype.name not in ("uint8", "uint16", "float32") or volume.nbytes > _LARGEST:
            tifffile.imwrite(temporary, volume, bigtiff=True, photometric="minisblack", metadata=None)
            return
        tifffile.imwrite(
            temporary,
            volume,
            imagej=True,
            resolution=(1 / spacing[2], 1 / spacing[1]),
            metadata={"axes": "ZYX", "spacing": spacing[0], "unit": "nm"},
        )
