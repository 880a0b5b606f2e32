"""Writing a volume as a TIFF stack, with its voxel size in the way ImageJ keeps it."""

from __future__ import annotations

import numpy as np
import tifffile

from mitoscale.core.geometry import Spacing
from mitoscale.storage.atomic import replacing


def write_tiff(path: str, volume: np.ndarray, spacing: Spacing) -> None:
    """Write a multi-page TIFF, atomically.

    Parameters
    ----------
    path : str
        The file.
    volume : (Z, Y, X) uint8, uint16 or float32
        Grey values or labels.
    spacing : (z, y, x)
        Voxel size in nm; y and x are the same in ImageJ's metadata only where they are equal.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            volume,
            imagej=True,
            resolution=(1 / spacing[2], 1 / spacing[1]),
            metadata={"axes": "ZYX", "spacing": spacing[0], "unit": "nm"},
        )
