"""A pyramid as lazy Dask arrays: one a level, nothing read before it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import dask.array as da
import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing
from mitoscale.storage.arrays import open_array
from mitoscale.storage.lazy import LazyArray


class Levels(Sequence[da.Array]):
    """The levels of an image or of labels, finest first; each is a Dask array (Z, Y, X).

    Parameters
    ----------
    name : str
        What it is, such as ``labels``.
    arrays : sequence of str or LazyArray
        Each level: the path of a Zarr array, or what is read another way.
    spacings : sequence of (z, y, x)
        Voxel size of each level in nm.

    Examples
    --------
    >>> run.labels[0][64].compute()  # doctest: +SKIP
    >>> run.image.xarray(2).sel(z=slice(0, 500))  # doctest: +SKIP
    """

    def __init__(self, name: str, arrays: Sequence[str | LazyArray], spacings: Sequence[Spacing]) -> None:
        self.name = name
        self.spacings = tuple(spacings)
        self._arrays = [_lazy(array) for array in arrays]

    def __len__(self) -> int:
        return len(self._arrays)

    def __iter__(self) -> Iterator[da.Array]:
        return iter(self._arrays)

    @overload
    def __getitem__(self, level: int) -> da.Array: ...

    @overload
    def __getitem__(self, level: slice) -> list[da.Array]: ...

    def __getitem__(self, level: int | slice) -> Any:
        return self._arrays[level]

    def __repr__(self) -> str:
        shape, dtype = self[0].shape, self[0].dtype
        return f"<{self.name}: {' x '.join(map(str, shape))} {dtype}, {len(self)} level{'s' if len(self) > 1 else ''}>"

    def coordinates(self, level: int = 0) -> dict[str, np.ndarray]:
        """Where the voxels of a level lie: for z, y and x the middle of each in nm, voxel 0 of the finest level at 0."""
        fine, coarse = self.spacings[0], self.spacings[level]
        return {axis: (c - f) / 2 + c * np.arange(n) for axis, n, f, c in zip("zyx", self[level].shape, fine, coarse, strict=True)}

    def xarray(self, level: int = 0) -> Any:
        """A level as ``xarray.DataArray`` with coordinates in nm, as lazy as the Dask array in it.

        Raises
        ------
        InputError
            If xarray is not installed.
        """
        try:
            import xarray
        except ImportError as error:
            raise InputError("xarray is not installed; install it with pip install xarray") from error
        coordinates = {axis: (axis, values, {"units": "nm"}) for axis, values in self.coordinates(level).items()}
        return xarray.DataArray(self[level], dims=("z", "y", "x"), coords=coordinates, name=self.name)


def _lazy(array: str | LazyArray) -> da.Array:
    lazy = LazyArray(open_array(array, missing="fill")) if isinstance(array, str) else array
    # A name of its own each time: a run that is done again must not be answered from a cache.
    meta = np.empty((0,) * lazy.ndim, lazy.dtype)
    return da.from_array(lazy, chunks=lazy.parts, name=False, asarray=False, fancy=False, inline_array=True, meta=meta)
