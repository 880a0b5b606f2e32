"""One TIFF file: read by region, page by page, strip by strip."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import tifffile

from mitoscale.core.errors import BlockError
from mitoscale.core.geometry import Spacing


@dataclass(frozen=True)
class TiffFile:
    """A TIFF that was checked; get one from :func:`~mitoscale.storage.tiff_checks.check_tiff`."""

    path: str
    """Absolute path."""
    shape: tuple[int, int, int]
    """(pages, y, x) in voxels."""
    dtype: str
    """NumPy name of what :meth:`read` gives: uint8 where pages are bilevel."""
    spacing: Spacing | None
    """Voxel size (z, y, x) in nm, or None where the file does not tell all of it."""
    pages: tuple[tifffile.TiffPage, ...] = field(repr=False)
    """Metadata of each page; one alone for ``shape[0]`` slices where these follow each other without gaps."""

    def read(self, z: slice, y: slice, x: slice) -> np.ndarray:
        """Part of the stack; only pages, and of these only strips or tiles, that are needed are read.

        Parameters
        ----------
        z, y, x : slice
            ``start:stop`` within the shape.

        Returns
        -------
        (Z, Y, X) ndarray
            Of ``dtype``, in this machine's byte order.

        Raises
        ------
        BlockError
            If stored bytes are broken, or the file has changed or gone.
        """
        shape = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        result = np.empty(shape, self.dtype)
        try:
            if len(self.pages) < self.shape[0]:
                result[:] = self._mapped(self.pages[0], self.shape)[z, y, x]
                return result
            with open(self.path, "rb", buffering=0) as file:
                for target, number in zip(result, range(z.start, z.stop), strict=True):
                    self._read_page(file, number, y, x, target)
        except (OSError, ValueError) as error:
            raise BlockError(f"cannot read {self.path}: {error}; restore it") from error
        return result

    def _mapped(self, page: tifffile.TiffPage, shape: tuple[int, ...]) -> np.ndarray:
        dtype = np.dtype(page.parent.byteorder + page.dtype.char)
        return np.memmap(self.path, dtype, mode="r", offset=page.dataoffsets[0], shape=shape)

    def _read_page(self, file: BinaryIO, number: int, y: slice, x: slice, target: np.ndarray) -> None:
        page = self.pages[number]
        if page.is_memmappable:
            target[:] = self._mapped(page, self.shape[1:])[y, x]
            return
        height, width = page.chunks[:2]
        across = -(-self.shape[2] // width)
        for row in range(y.start // height, -(-y.stop // height)):
            for column in range(x.start // width, -(-x.stop // width)):
                index = row * across + column
                data = os.pread(file.fileno(), page.databytecounts[index], page.dataoffsets[index])
                piece = self._decoded(page, data, index, number)
                top, left = row * height, column * width
                rows = slice(max(top, y.start), min(top + piece.shape[0], y.stop))
                columns = slice(max(left, x.start), min(left + piece.shape[1], x.stop))
                target[rows.start - y.start : rows.stop - y.start, columns.start - x.start : columns.stop - x.start] = (
                    piece[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
                )

    def _decoded(self, page: tifffile.TiffPage, data: bytes, index: int, number: int) -> np.ndarray:
        """(Y, X) of one strip or tile, cut at the page's border."""
        where = f"{self.path}, page {number}, {'tile' if page.is_tiled else 'strip'} {index}"
        if len(data) != page.databytecounts[index]:
            raise BlockError(f"{where} ends early: the file is truncated; restore it")
        try:
            piece, _, shape = page.decode(data, index, jpegtables=page.jpegtables)
        except (ValueError, RuntimeError, IndexError, TypeError) as error:  # codecs' errors are RuntimeErrors
            raise BlockError(f"cannot decode {where}: {error}; restore the file") from error
        if piece is None or piece.shape[1] < shape[1] or piece.shape[2] < shape[2]:
            raise BlockError(f"{where} decodes to too few pixels; restore the file")
        return piece[0, : shape[1], : shape[2], 0]
