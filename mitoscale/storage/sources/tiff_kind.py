"""TIFF: one multi-page file, a folder of slices (TIFF, PNG or JPEG), or a glob."""

from __future__ import annotations

from mitoscale.core.source_choices import Reading
from mitoscale.storage.slice_names import SUFFIXES
from mitoscale.storage.sources.reader import Kind, Look
from mitoscale.storage.tiff import TiffSource, open_tiff


def open_slices(look: Look, reading: Reading) -> TiffSource:
    """See :func:`mitoscale.storage.tiff.open_tiff`."""
    return open_tiff(look.path, reading)


def is_slice(path: str) -> bool:
    """Whether a file says by its first bytes, or its ending, that it is a TIFF, PNG or JPEG."""
    with open(path, "rb") as file:
        head = file.read(4)
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") or path.lower().endswith(SUFFIXES)


KIND = Kind(name="TIFF, or slices", recognises=lambda look: True, open=open_slices)
