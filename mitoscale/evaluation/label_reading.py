"""Labels from anywhere: a run, or a volume of any kind, read region by region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import SkipValidation

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.grid import index_of
from mitoscale.core.source_choices import Reading
from mitoscale.stages.block_states import ledger_codes
from mitoscale.stages.outputs import tasks_without_shards
from mitoscale.storage.addresses import absolute
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ome import is_ome_zarr
from mitoscale.storage.run_json import read_plan
from mitoscale.storage.run_places import holds_run
from mitoscale.storage.sources.kinds import look_at, open_reader
from mitoscale.storage.sources.ome_zarr import attributes_of
from mitoscale.storage.sources.reader import Reader

_DONE, _NOT_DONE = 1, 2
"""What the ledger says of a block's labels."""


@dataclass(frozen=True, kw_only=True)
class LabelSource:
    """Labels that were opened; cheap to pickle. Get one from :func:`open_labels`."""

    path: str
    """What the user named."""
    reader: SkipValidation[Reader]
    """Where the voxels are."""
    labelled: bool = False
    """Whether each value is known to be an object, whatever their number; else one value besides 0 is a mask."""
    region: Region | None = None
    """The part that holds labels, where it is known to be a part: of a run with ``--region``."""

    @property
    def shape(self) -> Triple:
        """(z, y, x) in voxels."""
        return self.reader.shape

    @property
    def chunks(self) -> Triple | None:
        """The least that is read, (z, y, x) voxels; None where that is rows of a slice."""
        return self.reader.chunks

    def read(self, region: Region) -> np.ndarray:
        """Voxels of a region, (Z, Y, X) bool or integer, or real where that was asked for.

        Raises
        ------
        BlockError
            If stored bytes are broken.
        """
        return self.reader.read(region)

    def cropped(self, slices: tuple[int, int] | None) -> Region:
        """The region of some slices, or of all; of a run with ``--region`` what lies in that.

        Raises
        ------
        InputError
            If they leave the volume.
        """
        z, y, x = self.shape
        start, stop = slices or (0, z)
        if not 0 <= start < stop <= z:
            raise InputError(f"slices {start}:{stop} are not within those of {self.path}, 0:{z}; give others with --slices")
        wanted = Region(start=(start, 0, 0), stop=(stop, y, x))
        part = self.region.intersection(wanted) if self.region else wanted
        if part is None:
            raise InputError(f"slices {start}:{stop} hold no labels of {self.path}: it was run on {self.region}")
        return part


def open_labels(path: str, reading: Reading | None = None, *, real: bool = False, cure: str = "convert it") -> LabelSource:
    """Open labels and check all that can be checked without reading them.

    Parameters
    ----------
    path : str
        A run folder, or a volume of any kind that a run can be made from.
    reading : Reading, optional
        What the user has decided of it.
    real : bool
        Real numbers will do too: a threshold is going to make a mask of them.
    cure : str
        What to do where real numbers will not do.

    Raises
    ------
    InputError
        If there is nothing there that holds labels, or a run has not finished them.
    """
    named, region = path, None
    if holds_run(path):
        path, region = _labels_of_run(path)
    reader = open_reader(path, reading, labels=True)
    if np.dtype(reader.dtype).kind not in ("biuf" if real else "biu"):
        cure = "they are ids: save them as uint32" if _are_ids(reader) else cure
        raise InputError(f"{path} holds {reader.dtype} values; labels are whole numbers: {cure}")
    return LabelSource(path=named, reader=reader, labelled=path != named or _made_here(path), region=region)


def read_labels(path: str, slices: tuple[int, int] | None = None) -> np.ndarray:
    """Labels from anywhere, whole.

    Parameters
    ----------
    path : str
        See :func:`open_labels`, whose errors are raised too.
    slices : (start, stop), optional
        Only these slices.

    Returns
    -------
    (Z, Y, X) bool or integer
    """
    source = open_labels(path)
    return source.read(source.cropped(slices))


def _are_ids(reader: Reader) -> bool:
    """Whether real numbers, by the middle slice, are whole and more than a mask's."""
    z = reader.shape[0] // 2
    try:
        values = reader.read(Region(start=(z, 0, 0), stop=(z + 1, *reader.shape[1:])))
    except BlockError:
        return False
    return bool(np.isfinite(values).all() and (values == np.rint(values)).all() and values.max(initial=0) > 1)


def _made_here(path: str) -> bool:
    """Whether labels are an image that a run has written."""
    look, _ = look_at(path)
    return "mitoscale" in attributes_of(look.metadata)


def _labels_of_run(path: str) -> tuple[str, Region | None]:
    """The labels group of a run whose relabel stage has ended, and the part it worked on."""
    run = RunFolder(absolute(path))
    plan = read_plan(run)
    written = ledger_codes(plan, "relabel", lambda entry: _DONE if entry.state == "done" else _NOT_DONE)
    there = int(np.count_nonzero(written))
    if there < len(written):
        raise InputError(
            f"run {path} has labels in {there} of {len(written)} blocks; finish it with mitoscale run, or mitoscale relabel"
        )
    without = tasks_without_shards(plan, "relabel")
    gone = [name for name in without if written[plan.grid.number(index_of(name))] == _DONE]
    if gone:
        raise InputError(
            f"run {path}: the labels of {len(gone)} of {len(written)} blocks are gone ({gone[0]}); start the same run again"
        )
    part = None if plan.region == Region.of_shape(plan.spec.shape) else plan.region
    return run.labels if is_ome_zarr(run.labels) else plan.labels, part
