"""What every kind of source can do once it is open, and what a kind is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.source_choices import Reading

PartialSpacing = tuple[float | None, float | None, float | None]
"""Voxel size (z, y, x) in nm; None on an axis where nobody tells it."""


class Reader(Protocol):
    """A volume that was opened and checked; cheap to pickle.

    A new kind of source is one file with a class that has these properties, a :class:`Kind`, and its name in
    :data:`mitoscale.storage.sources.kinds.KINDS`.
    """

    @property
    def path(self) -> str:
        """What was named, absolute where it is local."""

    @property
    def shape(self) -> Triple:
        """(z, y, x) in voxels."""

    @property
    def dtype(self) -> str:
        """NumPy name, in this machine's byte order; two-valued voxels are uint8."""

    @property
    def spacing(self) -> PartialSpacing:
        """What the source tells of its voxel size."""

    @property
    def origin(self) -> Spacing:
        """Position (z, y, x) of the first voxel's centre in nm, as the source tells it; else 0."""

    @property
    def hint(self) -> str:
        """What it says of the voxel size without saying enough, for people to see; mostly empty."""

    @property
    def chunks(self) -> Triple | None:
        """The least that is read, (z, y, x) voxels; None where that is rows of a slice."""

    @property
    def fingerprint(self) -> str:
        """Digest that another volume does not have, wherever it lies; 64 hex digits. Computed when asked for: bytes are read.

        Raises
        ------
        InputError
            If they cannot be read.
        """

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region, (Z, Y, X) of ``dtype``.

        Raises
        ------
        ValueError
            If the region leaves the volume.
        BlockError
            If stored bytes are broken, or have changed or gone since it was opened.
        """


@dataclass(frozen=True)
class Look:
    """A first look at what a path names."""

    path: str
    """Absolute path, or address."""
    metadata: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """The metadata files of a folder, such as ``zarr.json``, by name."""


@dataclass(frozen=True)
class Kind:
    """One kind of source."""

    name: str
    """What people call it."""
    recognises: Callable[[Look], bool]
    """Whether a path names one; nothing is read but what the look holds and a file's first bytes."""
    open: Callable[[Look, Reading], Reader]
    """Open and check it; raises InputError."""


def check_within(region: Region, shape: Triple) -> None:
    """Raise ValueError where a region leaves a volume.

    Parameters
    ----------
    region : Region
        What is read.
    shape : (z, y, x)
        Shape of the volume.
    """
    if any(a < 0 or b > n for a, b, n in zip(region.start, region.stop, shape, strict=True)):
        raise ValueError(f"region {region} leaves the volume of shape {shape}")


def native(dtype: Any) -> str:
    """Name of a dtype in this machine's byte order; two-valued is uint8."""
    name = np.dtype(dtype).newbyteorder("=").name
    return "uint8" if name == "bool" else name
