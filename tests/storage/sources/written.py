"""The same volume written as every kind of source, by the kind's own library where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import mrcfile
import numpy as np
import tensorstore as ts
import tifffile
import zarr

from mitoscale.core.geometry import Spacing, Triple
from mitoscale.core.source_choices import Reading

Chunks = Triple
Written = tuple[str, Reading]


def tiff(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    with tifffile.TiffWriter(folder / "v.tif", byteorder=">") as file:
        for plane in data:
            file.write(plane, photometric="minisblack", metadata=None)
    return str(folder / "v.tif"), Reading()


def png(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    (folder / "slices").mkdir()
    for z, plane in enumerate(data):
        (folder / "slices" / f"s{z:03d}.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(plane)))
    return str(folder / "slices"), Reading()


def ome_zarr(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    """Axes t, c, z, y, x in micrometres, two channels, as bioformats2raw writes them."""
    path = folder / "v.ome.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", shape=(1, 2, *data.shape), chunks=(1, 1, *chunks), dtype=data.dtype)
    array[0, 1] = data
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    transforms = [{"type": "scale", "scale": [1, 1, *(s / 1000 for s in spacing)]}]
    datasets = [{"path": "0", "coordinateTransformations": transforms}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return str(path), Reading(channel=1)


def zarr2(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    swapped = data.astype(data.dtype.newbyteorder(">"))
    array = zarr.create_array(str(folder / "v2.zarr"), shape=data.shape, chunks=chunks, dtype=swapped.dtype, zarr_format=2)
    array[:] = swapped
    array.attrs.update(resolution=list(spacing), units=["nm"] * 3)
    return str(folder / "v2.zarr"), Reading()


def zarr3(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    """Stored x, y, z, and told so."""
    array = zarr.create_array(
        str(folder / "v3.zarr"), shape=data.shape[::-1], chunks=chunks[::-1], dtype=data.dtype, dimension_names=("x", "y", "z")
    )
    array[:] = data.transpose()
    array.attrs.update(voxel_size=[s / 1000 for s in spacing[::-1]], unit="um")
    return str(folder / "v3.zarr"), Reading()


def n5(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    place = {"driver": "file", "path": str(folder / "v.n5" / "em" / "raw")}
    metadata = {
        "dimensions": data.shape[::-1],
        "blockSize": chunks[::-1],
        "dataType": data.dtype.name,
        "compression": {"type": "gzip"},
    }
    ts.open({"driver": "n5", "kvstore": place, "metadata": metadata, "create": True}).result().write(data.transpose()).result()
    file = folder / "v.n5" / "em" / "raw" / "attributes.json"
    told = {"pixelResolution": {"dimensions": list(spacing[::-1]), "unit": "nm"}}
    file.write_text(json.dumps(json.loads(file.read_text()) | told))
    return str(folder / "v.n5" / "em" / "raw"), Reading()


def precomputed(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    """Not at the origin, as most are."""
    scale = {"size": data.shape[::-1], "resolution": spacing[::-1], "encoding": "raw", "chunk_size": chunks[::-1]}
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(folder / "pre")},
        "multiscale_metadata": {"type": "image", "data_type": data.dtype.name, "num_channels": 1},
        "scale_metadata": scale | {"voxel_offset": [7, 5, 3]},
        "create": True,
    }
    ts.open(spec).result().write(data.transpose()[..., None]).result()
    return f"precomputed://{folder / 'pre'}", Reading()


def hdf5(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    with h5py.File(folder / "v.h5", "w") as file:
        file.create_dataset("labels", data=np.zeros((2, 2, 2), np.uint32))
        dataset = file.create_dataset("volumes/raw", data=data, chunks=chunks, compression="gzip")
        dataset.attrs["element_size_um"] = [s / 1000 for s in spacing]
    return f"{folder / 'v.h5'}:/volumes/raw", Reading()


def ilastik(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    """Axes x, z, y, c with their tags, big-endian and not chunked."""
    stored = data.transpose(2, 0, 1)[..., None].astype(data.dtype.newbyteorder(">"))
    with h5py.File(folder / "i.h5", "w") as file:
        dataset = file.create_dataset("exported_data", data=stored)
        dataset.attrs["axistags"] = json.dumps({"axes": [{"key": k} for k in "xzyc"]})
        dataset.attrs["element_size_um"] = [s / 1000 for s in spacing]
    return str(folder / "i.h5"), Reading()


def mrc(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    """MRC has no unsigned bytes: they become 16 bits, as mrcfile writes them."""
    wide = data.astype(np.uint16) if data.dtype == np.uint8 else data
    with mrcfile.new(folder / "v.mrc") as file:
        file.set_data(wide)
        file.voxel_size = tuple(s * 10 for s in spacing[::-1])
    return str(folder / "v.mrc"), Reading()


def raw(folder: Path, data: np.ndarray, chunks: Chunks, spacing: Spacing) -> Written:
    data.astype(data.dtype.newbyteorder(">")).tofile(folder / "v.raw")
    return str(folder / "v.raw"), Reading(shape=data.shape, dtype=data.dtype.newbyteorder(">").str)


WRITERS: dict[str, Callable[[Path, np.ndarray, Chunks, Spacing], Written]] = {
    w.__name__: w for w in (tiff, png, ome_zarr, zarr2, zarr3, n5, precomputed, hdf5, ilastik, mrc, raw)
}
"""By the kind's name."""

TELL = {"ome_zarr", "zarr2", "zarr3", "n5", "precomputed", "hdf5", "ilastik", "mrc"}
"""Kinds that tell the voxel size as they are written here."""


def arguments(reading: Reading) -> list[str]:
    """The options of the command line that say the same."""
    return reading.described().split()


def upload(folder: Path, client: Any, bucket: str, prefix: str) -> None:
    """Put all files of a folder into a bucket."""
    for file in folder.rglob("*"):
        if file.is_file():
            client.put_object(Bucket=bucket, Key=f"{prefix}/{file.relative_to(folder)}", Body=file.read_bytes())
