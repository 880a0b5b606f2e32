"""MRC volumes (EMDB, IMOD, SerialEM; also .rec, .map, .st). Specification: https://www.ccpem.ac.uk/mrc_format/mrc2014.php"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.source_choices import Reading
from mitoscale.storage.sources.axes import axis_order
from mitoscale.storage.sources.plain_bytes import PlainBytes
from mitoscale.storage.sources.reader import Kind, Look, PartialSpacing

SUFFIXES = (".mrc", ".mrcs", ".rec", ".map", ".st", ".ali", ".preali", ".ccp4")
"""Endings of MRC files."""

_HEADER = 1024
_IMOD_STAMP, _IMOD_AT, _SIGNED = 1146047817, 152, 1
_ANGSTROM = 0.1  # nm
_SMALLEST = 0.15  # nm: 1 Angstrom is what programs write that do not know
_STACK = 401  # space group of several volumes in one file


def open_mrc(look: Look, reading: Reading) -> PlainBytes:
    """Open a volume.

    Parameters
    ----------
    look : Look
        What the path leads to.
    reading : Reading
        What the user has decided of it.

    Raises
    ------
    InputError
        If it is no MRC, cut off, holds complex numbers or colours, or several volumes.
    """
    import mrcfile

    size = os.path.getsize(look.path)
    try:
        with mrcfile.open(look.path, header_only=True, permissive=True) as file:
            header = file.header.copy()
        dtype = mrcfile.utils.data_dtype_from_header(header)
        shape: tuple[int, ...] = tuple(int(header[n]) for n in ("nz", "ny", "nx"))
        offset = _HEADER + int(header.nsymbt)
    except Exception as error:  # on damaged headers mrcfile raises nearly anything
        raise InputError(f"{look.path} is no MRC file, or damaged ({error}); copy or export it again") from error
    if min(shape) < 1:
        raise InputError(f"{look.path} is damaged: its header tells the shape {shape}; copy or export it again")
    if dtype.kind not in "iuf" or dtype.fields:
        raise InputError(f"{look.path} has mode {int(header.mode)} ({dtype}); convert it to 8 or 16-bit grey")
    if int(header.ispg) >= _STACK and 0 < int(header.mz) < shape[0]:
        raise InputError(f"{look.path} holds {shape[0] // int(header.mz)} volumes; save the one that is meant on its own")
    if dtype == np.int8 and _unsigned(look.path, header):
        dtype = np.dtype(np.uint8)
    order = axis_order(_axes(header, look.path), shape, reading, look.path)
    found = PlainBytes(path=look.path, stored_dtype=dtype.str, stored_shape=shape, offset=offset, size=size, order=order)
    if size < found.bytes_needed:
        raise InputError(f"{look.path} is cut off: it has {size} of {found.bytes_needed} bytes; copy or export it again")
    return replace(found, spacing=_spacing(header))


def is_mrc(look: Look) -> bool:
    """Whether the file has an MRC's mark, or at least its ending."""
    if not os.path.isfile(look.path):
        return False
    with open(look.path, "rb") as file:
        head = file.read(_HEADER)
    return head[208:211] == b"MAP" or look.path.lower().endswith(SUFFIXES)


KIND = Kind(name="MRC", recognises=is_mrc, open=open_mrc)


def _axes(header: Any, path: str) -> str:
    """Names of sections, rows and columns; they may be exchanged."""
    letters = {1: "x", 2: "y", 3: "z"}
    numbers = [int(header[n]) for n in ("maps", "mapr", "mapc")]
    if numbers == [0, 0, 0]:
        return "zyx"
    if sorted(numbers) != [1, 2, 3]:
        raise InputError(f"{path} is damaged: its header names the axes {numbers}; copy or export it again")
    return "".join(letters[n] for n in numbers)


def _unsigned(path: str, header: Any) -> bool:
    """Whether mode 0 means unsigned bytes, which IMOD marks and older programs leave to be guessed."""
    with open(path, "rb") as file:
        file.seek(_IMOD_AT)
        stamp, flags = np.frombuffer(file.read(8), header.mode.dtype.newbyteorder("=").newbyteorder(header.mode.dtype.byteorder))
    if int(stamp) == _IMOD_STAMP:
        return not int(flags) & _SIGNED
    return float(header.dmax) > np.iinfo(np.int8).max and float(header.dmin) >= 0


def _spacing(header: Any) -> PartialSpacing:
    """Voxel size in nm from the cell's edges, which are in Angstrom."""
    sizes: list[float | None] = []
    for axis in "zyx":
        steps, edge = int(header[f"m{axis}"]), float(header.cella[axis])
        size = edge / steps * _ANGSTROM if steps > 0 else 0.0
        sizes.append(float(f"{size:.6g}") if size >= _SMALLEST else None)
    return sizes[0], sizes[1], sizes[2]
