"""The levels of a local OME-Zarr image whose axes are z, y, x."""

from __future__ import annotations

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing
from mitoscale.core.source_choices import Reading
from mitoscale.storage.addresses import join
from mitoscale.storage.arrays import open_array
from mitoscale.storage.sources.kinds import look_at
from mitoscale.storage.sources.ome_zarr import multiscales_of, open_image


def levels(path: str, spacing: Spacing) -> list[tuple[str, Spacing]]:
    """Array and voxel size in nm of each level, finest first; up to the first that does not span whole voxels of the finest.

    Parameters
    ----------
    path : str
        The image's group.
    spacing : (z, y, x)
        Voxel size of the finest level in nm.

    Raises
    ------
    InputError
        If there is no image, or its axes are others.
    """
    look, _ = look_at(path)
    found = open_image(look, Reading())
    if found.order.names != "zyx":
        raise InputError(f"{path} has axes {found.order.names}; only those of z, y, x are opened as arrays of voxels")
    result = [(found.array, spacing)]
    for dataset in multiscales_of(look.metadata)[0]["datasets"][1:]:
        array = join(path, str(dataset["path"]))
        shape = open_array(array, missing="fill").shape
        factors = [round(n / m) for n, m in zip(found.shape, shape, strict=True)]
        if shape != tuple(-(-n // f) for n, f in zip(found.shape, factors, strict=True)):
            break
        z, y, x = (s * f for s, f in zip(spacing, factors, strict=True))
        result.append((array, (z, y, x)))
    return result
