"""HDF5: a dataset of a file, named as ``volume.h5:/raw``; ilastik's, CREMI's and Fiji's attributes are understood."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources import fingerprint
from mitoscale.storage.sources.axes import AxisOrder, axis_order, usual
from mitoscale.storage.sources.reader import Kind, Look, PartialSpacing, check_within, native
from mitoscale.storage.sources.voxel_size import from_attributes

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".ims", ".nxs")
"""Endings of HDF5 files."""

_MAGIC = b"\x89HDF\r\n\x1a\n"
_LISTED, _VISITED = 8, 2000


@dataclass(frozen=True, kw_only=True)
class Hdf5Dataset:
    """A :class:`~mitoscale.storage.sources.reader.Reader` of one dataset."""

    path: str
    """File and dataset, as they are named."""
    file: str
    """The file."""
    dataset: str
    """Path of the dataset in it."""
    stored_shape: tuple[int, ...]
    """As it is stored."""
    stored_dtype: str
    """NumPy dtype with its byte order."""
    order: AxisOrder
    """How the stored axes are looked at."""
    chunks: Triple | None
    """(z, y, x) voxels; None where they are not chunked."""
    spacing: PartialSpacing
    """Voxel size (z, y, x) in nm, where it is told."""
    hint: str
    """See the protocol."""
    origin: Spacing = (0.0, 0.0, 0.0)
    """Not told by HDF5."""

    @property
    def fingerprint(self) -> str:
        """64 hex digits."""
        return fingerprint.of_files([self.file], f"{self.dataset}{self.order}")

    @property
    def shape(self) -> Triple:
        """(z, y, x) in voxels."""
        return self.order.shape(self.stored_shape)

    @property
    def dtype(self) -> str:
        """NumPy name."""
        return native(self.stored_dtype)

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region; raises what the protocol says."""
        check_within(region, self.shape)
        try:
            status = os.stat(self.file)
            stored = _kept(self.file, status.st_size, status.st_mtime_ns)[self.dataset]
            if stored.shape != self.stored_shape or stored.dtype.str != self.stored_dtype:
                raise BlockError(f"{self.path} has changed: it was {self.stored_shape} and is {stored.shape}; restore it")
            data = stored[self.order.index(region)]
        except (OSError, KeyError, RuntimeError) as error:
            raise BlockError(f"cannot read {self.path}: {error}") from error
        return self.order.arranged(np.asarray(data)).astype(self.dtype, order="C")


def open_hdf5(look: Look, reading: Reading) -> Hdf5Dataset:
    """Open a dataset; where a file has only one that can be a volume, its name may be left out.

    Parameters
    ----------
    look : Look
        What the path leads to.
    reading : Reading
        What the user has decided of it.

    Raises
    ------
    InputError
        If the file is cut off or damaged, or there is no such dataset, or none is named: what there is, is listed.
    """
    file, inside = split(look.path)
    with _opened(file) as content:
        dataset = _dataset(content, file, inside)
        name = f"{file}:{dataset.name}"
        if dataset.dtype.kind not in "biuf":
            raise InputError(f"{name} holds {dataset.dtype}; a volume holds numbers")
        if dataset.ndim < 2 or not dataset.size:
            raise InputError(f"{name} has shape {dataset.shape}; a volume has axes z, y, x")
        _check_parts(dataset, name, file)
        order = axis_order(_axes(dataset), dataset.shape, reading, name)
        attributes = dict(dataset.attrs)
        spacing, hint = from_attributes(attributes, order)
        return Hdf5Dataset(
            path=name,
            file=file,
            dataset=dataset.name,
            stored_shape=dataset.shape,
            stored_dtype=dataset.dtype.str,
            order=order,
            chunks=order.picked(dataset.chunks, 1) if dataset.chunks else None,
            spacing=spacing,
            hint=hint,
        )


def split(path: str) -> tuple[str, str]:
    """File and dataset of a name such as ``volume.h5:/raw``; the second is empty where only a file is named.

    Examples
    --------
    >>> split("/data/volume.h5:/raw"), split("/data/volume.h5")
    (('/data/volume.h5', '/raw'), ('/data/volume.h5', ''))
    """
    if os.path.isfile(path):
        return path, ""
    file, colon, inside = path.rpartition(":")
    return (file, inside) if colon and (os.path.isfile(file) or file.lower().endswith(SUFFIXES)) else (path, "")


def is_hdf5(look: Look) -> bool:
    """Whether the file has HDF5's mark, or at least its ending."""
    file, inside = split(look.path)
    if inside and not os.path.isfile(file):
        return True  # to be told that the file is missing
    if not os.path.isfile(file):
        return False
    if file.lower().endswith(SUFFIXES):
        return True
    with open(file, "rb") as content:
        return content.read(len(_MAGIC)) == _MAGIC


KIND = Kind(name="HDF5", recognises=is_hdf5, open=open_hdf5)


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    import h5py

    if not os.path.isfile(file):
        raise InputError(f"there is no file {file}; correct the path")
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401 - the compressors of other programs, where somebody has installed them
    try:
        content = h5py.File(file, "r", locking=False)
    except OSError as error:
        raise InputError(f"{file} is cut off, damaged, or no HDF5 file ({_short(error)}); copy or export it again") from error
    with content:
        try:
            yield content
        except (OSError, RuntimeError) as error:
            raise InputError(f"{file} is damaged ({_short(error)}); copy or export it again") from error


@lru_cache(maxsize=8)
def _kept(file: str, size: int, modified: int) -> Any:
    """An open file, kept between blocks; size and time tell it from a later file of the same name."""
    import h5py

    with suppress(ImportError):
        import hdf5plugin  # noqa: F401
    return h5py.File(file, "r", locking=False)


def _dataset(content: Any, file: str, inside: str) -> Any:
    """The dataset that is meant."""
    import h5py

    there = content.get(inside) if inside.strip("/") else content
    if isinstance(there, h5py.Dataset):
        return there
    below = _listed(there if isinstance(there, h5py.Group) else content)
    if isinstance(there, h5py.Group) and len(below) == 1:
        return content[below[0][0]]
    listed = ", ".join(f"{name} {shape} {dtype}" for name, shape, dtype in below[:_LISTED])
    more = f" and {len(below) - _LISTED} more" if len(below) > _LISTED else ""
    has = f"it has {listed}{more}" if below else "it has no dataset with axes z, y, x"
    example = below[0][0] if below else "/raw"
    if there is None:
        raise InputError(f"{file} has no dataset {inside}; {has}")
    raise InputError(f"{file} has several datasets; {has}: name one, such as {file}:{example}")


def _listed(group: Any) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and dtype of what can be a volume."""
    import h5py

    found: list[tuple[str, tuple[int, ...], str]] = []
    visited = 0

    def visit(_: str, item: Any) -> bool | None:
        nonlocal visited
        visited += 1
        if isinstance(item, h5py.Dataset) and item.ndim >= 3 and item.size and item.dtype.kind in "biuf":
            found.append((item.name, item.shape, str(item.dtype)))
        return True if visited > _VISITED else None

    group.visititems(visit)
    return found


def _axes(dataset: Any) -> list[str] | str:
    """Names of the axes: ilastik's, HDF5's own, or the usual order."""
    tags = dataset.attrs.get("axistags")
    if tags is not None:
        with suppress(ValueError, KeyError, TypeError):
            return [axis["key"] for axis in json.loads(tags)["axes"]]
    labels = [dimension.label for dimension in dataset.dims]
    return labels if all(labels) and {"y", "x"} <= {label.lower() for label in labels} else usual(dataset.ndim)


def _check_parts(dataset: Any, name: str, file: str) -> None:
    """Raise where parts lie in other files that are not there: HDF5 would read fill values without a word."""
    others = [external[0] for external in dataset.external or ()]
    if dataset.is_virtual:
        others += [source.file_name for source in dataset.virtual_sources() if source.file_name != "."]
    gone = [other for other in others if not os.path.exists(os.path.join(os.path.dirname(file), other))]
    if gone:
        raise InputError(f"{name} lies in other files, and {len(gone)} of them are missing ({gone[0]}); copy them beside it")
    if dataset.chunks and dataset.size:
        try:
            dataset[(0,) * dataset.ndim]
        except OSError as error:
            raise InputError(f"{name} cannot be decoded ({_short(error)}); pip install hdf5plugin, or export it again") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
