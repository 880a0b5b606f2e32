"""A run folder opened for reading: volumes as Dask arrays, tables as pandas, and how far it is."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mitoscale import pipeline
from mitoscale.api.levels import Levels
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.apply import current_corrections
from mitoscale.pipeline.status import RunProgress, progress
from mitoscale.storage.addresses import join
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.lazy import LazyArray
from mitoscale.storage.ome import is_ome_zarr
from mitoscale.storage.sources.ome_levels import levels
from mitoscale.storage.stored_files import is_file
from mitoscale.storage.tables import read_table

if TYPE_CHECKING:
    import pandas


def open_run(path: str | os.PathLike[str]) -> OpenedRun:
    """Open a run folder, be it finished, stopped or still at work; nothing is changed.

    Raises
    ------
    InputError
        If it is no run folder.

    Examples
    --------
    >>> import mitoscale
    >>> run = mitoscale.open_run("RUN")  # doctest: +SKIP
    >>> run.objects.nlargest(10, "volume_nm3")  # doctest: +SKIP
    >>> (run.labels[0][64] > 0).mean().compute()  # doctest: +SKIP
    """
    return OpenedRun(pipeline.load(os.fspath(path)))


class OpenedRun:
    """A run folder's results. Get one from :func:`open_run`."""

    def __init__(self, run: pipeline.Run) -> None:
        self._run = run
        self._folder = RunFolder(run.plan.run)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self._run.plan.spec.shape))
        return f"<mitoscale run {self.path}: {shape} voxels of {' x '.join(f'{s:g}' for s in self.voxel_size)} nm>"

    @property
    def path(self) -> str:
        """Absolute path of the folder."""
        return self._run.plan.run

    @property
    def voxel_size(self) -> Spacing:
        """Voxel size (z, y, x) in nm."""
        return self._run.plan.spec.spacing

    def plan(self) -> RunPlan:
        """What was planned: volume, blocks and all settings, as in run.json."""
        return self._run.plan

    def status(self) -> RunProgress:
        """How far it is by now: what ``mitoscale status`` tells."""
        return progress(self._run)

    @cached_property
    def image(self) -> Levels:
        """The image in its own grey values; where ``--region`` left something out, or nothing is written yet, it is 0."""
        plan = self._run.plan
        convert = plan.settings.convert
        if not convert.in_place:
            return self._levels("image", os.path.dirname(plan.image), "convert")
        if is_ome_zarr(convert.source):
            found = levels(convert.source, plan.spec.spacing)
            if open_array(found[0][0], missing="fill").shape == plan.spec.shape:
                return Levels("image", [path for path, _ in found], [spacing for _, spacing in found])
        # Another kind of source, or one with other axes, is read as the stages read it.
        reader = LazyArray(self._run.stage("relabel").open_image(), plan.core)
        return Levels("image", [reader], [plan.spec.spacing])

    @cached_property
    def labels(self) -> Levels:
        """One number a mitochondrion, 0 elsewhere; while the run is at work, what is not written yet is 0.

        Raises
        ------
        InputError
            If there are none yet, or what was written of them is gone.
        """
        return self._levels("labels", self._run.plan.labels, "relabel")

    @property
    def labels_corrected(self) -> Levels:
        """The labels with all corrections, as ``mitoscale apply`` has written them.

        Raises
        ------
        InputError
            If they were not written since the last correction, or since the labels were made again.
        """
        group, _ = self._corrected()
        return self._levels("corrected labels", group, "relabel")

    @cached_property
    def foreground(self) -> Levels:
        """The detector's probability of foreground times 255, uint8; one level.

        Raises
        ------
        InputError
            If there is none yet, or ``mitoscale clean`` has removed it.
        """
        if not is_file(join(self._folder.foreground, "zarr.json")):
            cure = "mitoscale clean removed it" if pipeline.finished(self._run, "detect") else "detect has not begun"
            raise InputError(f"{self.path} has no foreground: {cure}")
        return Levels("foreground", [self._folder.foreground], [self.voxel_size])

    @property
    def objects(self) -> pandas.DataFrame:
        """One row a mitochondrion, by its label; columns are told in jobs/README.md."""
        return self._table(self._folder.objects, "measure").set_index("label", drop=False)

    @property
    def objects_corrected(self) -> pandas.DataFrame:
        """The same after corrections; see :attr:`labels_corrected`. Its column ``accepted`` tells what people said is right."""
        _, table = self._corrected()
        return self._table(table, "measure").set_index("label", drop=False)

    @property
    def contacts(self) -> pandas.DataFrame:
        """Pairs of mitochondria that touch."""
        return self._table(self._folder.contacts, "measure")

    @property
    def detections(self) -> pandas.DataFrame:
        """One row a profile in a slice: its centroid in voxels."""
        return self._table(self._folder.detections, "detect")

    @property
    def edges(self) -> pandas.DataFrame:
        """The seam report: decisions at block faces that were in doubt."""
        return self._table(self._folder.edges_table, "stitch")

    def _corrected(self) -> tuple[str, str]:
        return current_corrections(self._run.plan, pipeline.closing_of(self._run, "relabel"))

    def _levels(self, name: str, root: str, stage: str) -> Levels:
        spec = self._run.plan.spec
        if not is_file(join(root, "0", "zarr.json")):
            raise InputError(f"{self.path} has no {name} yet: {stage} has not begun")
        if pipeline.finished(self._run, stage) and (gone := pipeline.missing_shards(self._run, stage)):
            raise InputError(f"{self.path} lacks the {name} of {len(gone)} blocks ({gone[0]}); start the same run again")
        levels = range(len(spec.factors))
        return Levels(name, [f"{root}/{level}" for level in levels], [spec.level_spacing(level) for level in levels])

    def _table(self, path: str, stage: str) -> pandas.DataFrame:
        import pandas

        if not pipeline.finished(self._run, stage):
            raise InputError(f"{self.path} has no table {Path(path).name} yet: {stage} is not finished")
        return pandas.DataFrame(read_table(path))
