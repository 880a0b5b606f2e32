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
        Its kind, by name; else the target's ending tells it. A folder without one, or with a slash behind it, is one of slices.

    Raises
    ------
    InputError
        If no kind has that ending.
    """
    if named is not None:
        return next(kind for kind in KINDS if kind.name == named)
    name = target.rstrip("/").lower()
    slash, ending = target.endswith("/"), os.path.splitext(name)[1]
    for kind in KINDS:
        if kind is not tiff.SLICES and name.endswith(kind.endings) and (kind.folder or not slash):
            return kind
    if slash or not ending:
        return tiff.SLICES
    known = ", ".join(kind.endings[0] for kind in KINDS if kind.endings[0])
    raise InputError(f"--to {target}: {ending} is not known; it may end in {known}, or be a folder, or --kind names what it is")
