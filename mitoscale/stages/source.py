"""What a run reads: a volume of any kind that storage knows, checked, with its voxel size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing, Triple
from mitoscale.core.source_choices import Reading
from mitoscale.stages.bad_slices import most_beside
from mitoscale.storage.sources.finite import check_finite
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.sources.plain_bytes import PlainBytes
from mitoscale.storage.sources.reader import PartialSpacing, Reader
from mitoscale.storage.sources.stored_array import StoredArray
from mitoscale.storage.tiff import TiffSource

_ANSWER = "--voxel-size Z,Y,X in nm, for example --voxel-size 5,5,5"
_PIXEL_NM, _SLICE_NM = (0.1, 500.0), (0.1, 10_000.0)
"""What y and x, and what z may measure: mitochondria are 200 nm across and more."""
_ORDER = 10.0
"""From this ratio of y and x on they are taken for another order of the axes."""
_NAMED = 5
"""Slices that are told of many."""
_SAME = 0.01
"""Up to this relative difference two voxel sizes are the same."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source that was opened and found fit."""

    path: str
    """Absolute path, or address."""
    reading: Reading
    """What the user has decided of it."""
    shape: Triple
    """Shape (z, y, x) in voxels."""
    dtype: str
    """NumPy name."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    origin: Spacing
    """Position (z, y, x) of its first voxel in nm, where it tells one; else 0."""
    fingerprint: str
    """Digest that tells it from others."""
    level0: str | None
    """The array with level 0 of a local OME-Zarr, which is read where it lies; None for all else, which is converted."""
    missing: tuple[int, ...] = ()
    """Slices that are not there, and for which neighbours shall stand."""
    notes: tuple[str, ...] = ()
    """What people should know before hours are spent, one line each."""


def open_source(path: str, voxel_size: Spacing | None, reading: Reading | None = None) -> Source:
    """Open a source and check all of it that can be checked without reading every voxel (floats are read for NaN).

    Parameters
    ----------
    path : str
        A file, a folder or glob of slices, an array or image of chunks, or the address of one.
    voxel_size : (z, y, x), optional
        In nm; wins over what the source says.
    reading : Reading, optional
        What the user has decided of it.

    Raises
    ------
    InputError
        If anything is wrong with it, or nobody tells the voxel size.
    """
    reading = reading or Reading()
    reader = open_reader(path, reading)
    if reading.shape is not None and not isinstance(reader, PlainBytes):
        raise InputError(f"source {reader.path} is no file of raw bytes; leave out --shape and --dtype")
    spacing = voxel_size or _told(reader)
    check_spacing(spacing, reader.path)
    missing = reader.missing if isinstance(reader, TiffSource) else ()
    _check_gaps(reader.path, missing, spacing)
    if reader.dtype.startswith("float"):
        check_finite(reader)
    return Source(
        path=reader.path,
        reading=reading,
        shape=reader.shape,
        dtype=reader.dtype,
        spacing=spacing,
        origin=reader.origin,
        fingerprint=reader.fingerprint,
        level0=reader.array if isinstance(reader, StoredArray) and reader.in_place else None,
        missing=missing,
        notes=(*_notes(reader, voxel_size), *_gap_notes(reader.path, missing)),
    )


def check_spacing(spacing: Spacing, path: str) -> None:
    """Raise where no microscope has made such voxels, or y and x look exchanged with z.

    Parameters
    ----------
    spacing : (z, y, x)
        In nm.
    path : str
        Whose it is.

    Raises
    ------
    InputError
        With the limits.
    """
    z, y, x = spacing
    if max(y, x) >= _ORDER * min(y, x):
        likely = ",".join(f"{s:g}" for s in ((x, y, z) if abs(y / z - 1) < abs(x / z - 1) else (y, z, x)))
        raise InputError(
            f"source {path}: y and x of a voxel of {_shown(spacing)} nm (z,y,x) differ {max(y, x) / min(y, x):.3g} times; is the "
            f"order z,y,x, or is --voxel-size {likely} meant?"
        )
    limits = (_SLICE_NM, _PIXEL_NM, _PIXEL_NM)
    if not all(low <= s <= high for s, (low, high) in zip(spacing, limits, strict=True)):
        (low, high), (_, highest) = _PIXEL_NM, _SLICE_NM
        raise InputError(
            f"source {path}: a voxel of {_shown(spacing)} nm (z, y, x) is not between {low:g} and {high:g} nm in y and x, and up "
            f"to {highest:g} nm in z; give the right one as {_ANSWER}"
        )


def _told(reader: Reader) -> Spacing:
    """The voxel size that the source tells; raises where it does not, with what it does tell."""
    z, y, x = reader.spacing
    if z is not None and y is not None and x is not None:
        return z, y, x
    told = dict(zip("zyx", reader.spacing, strict=True))
    known = " and ".join(f"{axis} {size:g} nm" for axis, size in told.items() if size is not None)
    if known:
        missing = " and ".join(axis for axis, size in told.items() if size is None)
        example = ",".join(axis.upper() if size is None else f"{size:g}" for axis, size in told.items())
        raise InputError(
            f"source {reader.path} tells {known} of its voxel size, and not {missing}; give --voxel-size {example} in nm"
        )
    hint = f" ({reader.hint})" if reader.hint else ""
    raise InputError(f"source {reader.path} does not tell its voxel size{hint}; give it as {_ANSWER}")


def _notes(reader: Reader, voxel_size: Spacing | None) -> tuple[str, ...]:
    if voxel_size is None:
        return ()
    pairs = [(given, told) for given, told in zip(voxel_size, reader.spacing, strict=True) if told is not None]
    if all(abs(given - told) <= _SAME * told for given, told in pairs):
        return ()
    return (f"{reader.path} tells a voxel of {_shown(reader.spacing)} nm (z,y,x); the given one, {_shown(voxel_size)} nm, counts",)


def _check_gaps(path: str, missing: tuple[int, ...], spacing: Spacing) -> None:
    """Raise where more slices beside each other are missing than neighbours can stand for."""
    most = most_beside(spacing[0])
    for _, beside in groupby(enumerate(missing), key=lambda pair: pair[1] - pair[0]):
        gap = [z for _, z in beside]
        if len(gap) > most:
            raise InputError(
                f"source {path}: slices {gap[0]} to {gap[-1]} (counted from 0) are missing beside each other; of {spacing[0]:g} nm "
                f"each, --fill-gaps fills at most {most}: restore them, or run the parts before and behind apart, each by a glob"
            )


def _gap_notes(path: str, missing: tuple[int, ...]) -> tuple[str, ...]:
    if not missing:
        return ()
    named = ", ".join(map(str, missing[:_NAMED])) + (f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else "")
    slices = "slice is" if len(missing) == 1 else "slices are"
    return (f"{len(missing)} {slices} missing in {path} (number {named}, counted from 0): their neighbours stand for them",)


def _shown(spacing: Spacing | PartialSpacing) -> str:
    return " x ".join("?" if s is None else f"{s:g}" for s in spacing)
