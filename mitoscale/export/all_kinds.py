"""All kinds, and the one that a name means."""

from __future__ import annotations

import os

from mitoscale.core.errors import InputError
from mitoscale.export import coco, csv_table, mobie, mrc_file, n5_pyramid, precomputed_volumes, tiff, zarr_v2
from mitoscale.export.kind import Kind

KINDS: tuple[Kind, ...] = (
    tiff.OME_TIFF,
    tiff.TIFF,
    csv_table.KIND,
    mrc_file.KIND,
    n5_pyramid.KIND,
    precomputed_volumes.KIND,
    zarr_v2.KIND,
    mobie.KIND,
    coco.KIND,
    tiff.SLICES,
)
"""A name is the first one's whose ending it has."""


def kind_of(target: str, named: str | None) -> Kind:
    """The kind that is meant.

    Parameters
    ----------
    target : str
        The file or folder that is to be made.
    named : str, optional
        Its kind, by name; else the target's ending tells it. A folder of no known ending is one of slices.

    Raises
    ------
    InputError
        If no kind has that ending, or a slash stands behind the name of a file.
    """
    kind = _by_ending(target) if named is None else next(kind for kind in KINDS if kind.name == named)
    if target.endswith("/") and not kind.folder:
        raise InputError(f"--to {target}: {kind.name} is a file; leave out the slash, or give --kind slices")
    return kind


def _by_ending(target: str) -> Kind:
    name = target.rstrip("/").lower()
    ending = os.path.splitext(name)[1]
    for kind in KINDS:
        if kind is not tiff.SLICES and name.endswith(kind.endings):
            return kind
    if target.endswith("/") or not ending:
        return tiff.SLICES
    known = ", ".join(kind.endings[0] for kind in KINDS if kind.endings[0])
    raise InputError(f"--to {target}: {ending} is not known; it may end in {known}, or be a folder, or --kind names what it is")
