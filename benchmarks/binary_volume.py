"""A binary volume for benchmarks, and the predictors that hand it through the pipeline unchanged."""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
import zarr
from scipy import ndimage

from mitoscale.core.geometry import Region, Triple

SPACING = (5.0, 5.0, 5.0)


def write_volume(path: str, shape: Triple, chunks: Triple, part: float = 0.08, seed: int = 0) -> None:
    """Write an OME-Zarr with 255 in smooth random bodies that fill ``part`` of it, 0 elsewhere; each voxel drawn is 2 x 2 x 2."""
    noise = np.random.default_rng(seed).standard_normal(tuple(-(-n // 2) for n in shape), dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, 4, output=np.float32)
    inside = smooth > np.quantile(smooth[::8], 1 - part)
    group = zarr.open_group(path, mode="w")
    axes: Any = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    scale: Any = [{"type": "scale", "scale": list(SPACING)}]
    multiscales: Any = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    array = group.create_array("0", shape=shape, dtype="uint8", chunks=chunks)
    for z in range(0, shape[0], chunks[0]):
        slab = inside[z // 2 : -(-(z + chunks[0]) // 2)].repeat(2, 0).repeat(2, 1).repeat(2, 2)
        stop = min(z + chunks[0], shape[0])
        array[z:stop] = slab[z % 2 :][: stop - z, : shape[1], : shape[2]] * np.uint8(255)


class Even:
    """A detector that says 0.5 inside and 0 outside, so that with a higher threshold no detections are sought."""

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """See :class:`mitoscale.nets.predictors.Detector`."""
        return (image > 127) * np.float32(0.5)


class Components:
    """A segmenter whose fragments are the 26-connected parts of the foreground in the read region."""

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        """See :class:`mitoscale.nets.predictors.VolumeSegmenter`."""
        parts: np.ndarray = cc3d.connected_components(foreground > 0.25, connectivity=26, out_dtype=np.uint32)
        return parts


def detector() -> Even:
    """For ``--detector binary_volume:detector``."""
    return Even()


def segmenter() -> Components:
    """For ``--segmenter binary_volume:segmenter``."""
    return Components()
