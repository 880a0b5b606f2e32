"""The plan of a run: everything a stage must know, fixed and checked before any work starts."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, model_validator

from mitoscale.core.detector_names import NAMED
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import SINGLE_NM, Region, Spacing, Triple
from mitoscale.core.grid import BlockGrid
from mitoscale.core.settings import RunSettings
from mitoscale.core.super_blocks import super_block_count
from mitoscale.core.volume import VolumeSpec

MAX_LEVELS = 5
"""Most levels of a pyramid."""

_SMALLEST_LEVEL = 64
"""A level is halved again only while its longest edge is above twice this."""


_FILE_BYTES = 4096
"""What a file takes on a disk at least."""


class RunPlan(BaseModel):
    """A run's folder, volume and settings, and the grids that follow from them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    """Absolute path of the run folder."""
    image: str
    """Path of the Zarr array with level 0 of the image."""
    labels: str
    """Path of the OME-Zarr labels group that is written."""
    owner: str = ""
    """Random name of the run, which its labels carry; empty in runs of earlier versions."""
    spec: VolumeSpec
    """The volume."""
    settings: RunSettings
    """All settings."""
    detector_why: str = ""
    """Why this detector: ``named`` by the user, or in words, where it was chosen for the volume; empty: not chosen yet."""
    segmenter_why: str = ""
    """Why this segmenter, alike; empty: it is the default."""

    @model_validator(mode="after")
    def _check(self) -> RunPlan:
        wanted, spec = self.settings.convert, self.spec
        if (spec.spacing, spec.chunks, spec.shards) != (wanted.spacing, wanted.chunks, wanted.core):
            raise ValueError(f"the volume {spec} is not what the settings ask for: {wanted}")
        return self

    @property
    def choices(self) -> dict[str, str]:
        """What was chosen for the volume, ``detector`` and ``segmenter``, each with its reason; not what the user has named."""
        reasons = {"detector": self.detector_why, "segmenter": self.segmenter_why}
        return {what: why for what, why in reasons.items() if why not in ("", NAMED)}

    @property
    def core(self) -> Triple:
        """Core (z, y, x) of a block."""
        return self.settings.convert.core

    @property
    def region(self) -> Region:
        """What is worked on."""
        return self.settings.convert.region

    @property
    def convert_grid(self) -> BlockGrid:
        """Rows of blocks along x, so that a TIFF's strip is decoded once."""
        z, y, x = self.core
        row = (z, y, -(-self.spec.shape[2] // x) * x)
        return BlockGrid(region=self.region, core_shape=row, margin=(0, 0, 0))

    @property
    def detect_grid(self) -> BlockGrid:
        """Blocks with the detector's margin."""
        wanted = self.settings.detect.margin_nm
        margin = tuple(
            min(math.ceil(m / s), c, n) for m, s, c, n in zip(wanted, self.spec.spacing, self.core, self.spec.shape, strict=True)
        )
        return BlockGrid(region=self.region, core_shape=self.core, margin=margin)

    @property
    def grid(self) -> BlockGrid:
        """Blocks with the margin over which fragments of neighbours are compared."""
        margin = self.settings.segment.margin or (8, 64, 64)
        cut = tuple(min(m, c) if n > 1 else 0 for m, c, n in zip(margin, self.core, self.spec.shape, strict=True))
        return BlockGrid(region=self.region, core_shape=self.core, margin=cut)

    @property
    def slot_shape(self) -> Triple:
        """Largest read region (z, y, x) of :attr:`grid`: one slot of the fragments."""
        z, y, x = (min(c + 2 * m, n) for c, m, n in zip(self.core, self.grid.margin, self.region.shape, strict=True))
        return z, y, x

    def task_count(self, stage: str) -> int:
        """Tasks of a stage; the far fewer that gather tables and make coarser levels are not among them."""
        if stage == "convert":
            return len(self.convert_grid)
        if stage == "stitch":
            return self.grid.face_count
        return 0 if stage == "report" else len(self.grid)

    @property
    def file_count(self) -> int:
        """Most files (inodes) while it runs, working files included; see :attr:`kept_file_count`."""
        blocks, rows = len(self.grid), len(self.convert_grid)
        # Gathered tables of blocks, faces and rows, labels of fragments, and what stitch keeps of each super-block.
        supers = 7 * super_block_count(self.grid) + super_block_count(self.convert_grid)
        single = max(blocks, self.grid.face_count, rows)  # of the stage that is at work; those of the others are gathered
        return self.kept_file_count + 2 * blocks + single + supers  # foreground and fragments

    @property
    def kept_file_count(self) -> int:
        """Files (inodes) that stay after ``clean``: shards of image and labels."""
        kinds = 1 if self.settings.convert.in_place else 2
        return kinds * sum(
            math.prod(-(-n // s) for n, s in zip(self.region.downsampled(factor).shape, self.spec.level_shards(level), strict=True))
            for level, factor in enumerate(self.spec.factors)
        )

    def moved_to(self, run: str) -> RunPlan:
        """The plan of a run folder that lies at ``run`` now: paths inside the folder follow it.

        Parameters
        ----------
        run : str
            Absolute path.
        """
        if run == self.run:
            return self
        inside = {
            name: run + value.removeprefix(self.run)
            for name in ("image", "labels")
            if (value := getattr(self, name)).startswith(self.run + "/")
        }
        return self.model_copy(update={"run": run, **inside})

    def validate_plan(self, free_bytes: int) -> None:
        """Raise where the run cannot fit.

        Parameters
        ----------
        free_bytes : int
            Free space where the run folder lies.

        Raises
        ------
        InputError
            Naming the stage, what it needs and the limit.
        """
        self.grid.check_aligned(self.spec.shards)
        if len(self.grid) >= 2**40:
            raise InputError(f"segment: {len(self.grid)} blocks exceed 2^40; choose larger blocks with --block")
        voxels = self.region.size
        item = 1 if self.spec.dtype == "uint8" else 2 if self.spec.dtype in ("uint16", "int16") else 4
        copied = 0 if self.settings.convert.in_place else voxels * item
        # Labels, foreground and fragments compress well; an eighth of their raw size is the most seen on real volumes.
        needed = copied + (4 * voxels + voxels + 4 * math.prod(self.slot_shape) * len(self.grid)) // 8
        needed += self.file_count * _FILE_BYTES
        if needed > free_bytes:
            cure = ", or larger blocks with --block" if self.file_count * _FILE_BYTES > needed / 2 else ""
            raise InputError(
                f"convert: the run needs about {needed / 1e9:.3g} GB, {free_bytes / 1e9:.3g} GB are free at {self.run}; "
                f"free space, or give another RUN{cure}"
            )


def default_core(shape: Triple, spacing: Spacing, seen: tuple[float, float] = (0.0, 0.0)) -> Triple:
    """A core that suits a volume: 64 slices of 512 x 512, or 32 where slices are thick.

    Where a segmenter's windows show more than that, and slices are larger, it is 32 slices of 1024 x 1024: a window that is larger
    than its block is computed again in each of the blocks that it shows. Of a few slices, and of single pictures, it is 4 of
    2048 x 2048, no more voxels, and fewer faces at which crowded mitochondria may be cut.

    Parameters
    ----------
    shape : (z, y, x)
        Of what is worked on, in voxels.
    spacing : (z, y, x)
        Voxel size in nm.
    seen : (y, x)
        What the segmenter's windows show of a slice, in nm; 0: nothing.

    Examples
    --------
    >>> default_core((165, 768, 1024), (5.0, 5.0, 5.0)), default_core((20, 1024, 1024), (50.0, 4.6, 4.6))
    ((64, 512, 512), (32, 512, 512))
    >>> default_core((165, 768, 1024), (5.0, 5.0, 5.0), (5120.0, 5120.0)), default_core((3, 816, 1216), (1000.0, 5.0, 5.0))
    ((32, 1024, 1024), (4, 2048, 2048))
    """
    few, small, large = 4, 512, 1024
    if shape[0] <= few or spacing[0] >= SINGLE_NM:
        return few, 2 * large, 2 * large
    if max(shape[1:]) > small and max(w / s for w, s in zip(seen, spacing[1:], strict=True)) > small:
        return 32, large, large
    return (32 if spacing[0] > 3 * spacing[2] else 64, small, small)


def chunks_of(core: Triple, wanted: Triple = (32, 128, 128)) -> Triple:
    """The largest chunk up to ``wanted`` that divides the core.

    Parameters
    ----------
    core : (z, y, x)
        Core of a block in voxels.
    wanted : (z, y, x)
        Largest chunk in voxels.

    Examples
    --------
    >>> chunks_of((48, 192, 192))
    (24, 96, 96)
    """
    z, y, x = (max(d for d in range(1, w + 1) if c % d == 0) for c, w in zip(core, wanted, strict=True))
    return z, y, x


def pyramid_factors(shape: Triple, spacing: Spacing, core: Triple) -> tuple[Triple, ...]:
    """Downsampling factors of each level: the finer axes are halved first, until a level is small.

    Parameters
    ----------
    shape : (z, y, x)
        Of level 0, in voxels.
    spacing : (z, y, x)
        Voxel size of level 0 in nm.
    core : (z, y, x)
        Core of a block in voxels.

    Examples
    --------
    >>> pyramid_factors((20, 1024, 1024), (50.0, 5.0, 5.0), (32, 512, 512))
    ((1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8))
    """
    factors: list[Triple] = [(1, 1, 1)]
    while len(factors) < MAX_LEVELS:
        last = factors[-1]
        size = [-(-n // f) for n, f in zip(shape, last, strict=True)]
        voxel = [s * f for s, f in zip(spacing, last, strict=True)]
        if max(size) <= 2 * _SMALLEST_LEVEL:
            break
        finest = min((v for v, n in zip(voxel, size, strict=True) if n > 1), default=0.0)
        halve = [v < 2 * finest and n > 1 for v, n in zip(voxel, size, strict=True)]
        z, y, x = (f * 2 if h else f for f, h in zip(last, halve, strict=True))
        if any(c % f for c, f in zip(core, (z, y, x), strict=True)) or (z, y, x) == last:
            break
        factors.append((z, y, x))
    return tuple(factors)
