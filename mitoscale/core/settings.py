"""The settings of a run and of each stage, and the token that tells whether work was done with them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mitoscale.core.cell_mask import CellMask
from mitoscale.core.detector_names import ONE_TISSUE
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.source_choices import Reading

STAGES = ("convert", "detect", "segment", "stitch", "relabel", "measure", "report")
"""The stages in the order they run."""


class Settings(BaseModel):
    """Base of all settings: frozen, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ConvertSettings(Settings):
    """How a source becomes (or is read as) an OME-Zarr volume."""

    source: str
    """Absolute path of a file, the folder or glob of slices, an array or image of chunks, or the address of one."""
    reading: Reading = Reading()
    """What the user has decided of it."""
    fingerprint: str
    """Digest of the source: another volume has another one."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    in_place: bool = False
    """True where the source is an OME-Zarr that is read, not copied."""
    core: Triple
    """Core (z, y, x) of a block in voxels; it is also the shard of level 0."""
    chunks: Triple
    """Chunk (z, y, x) in voxels."""
    region: Region
    """The part of the volume that is worked on."""
    missing: tuple[int, ...] = ()
    """Slices that the source does not have, and ``Reading.fill_gaps`` allows."""
    percentiles: tuple[float, float] = (0.2, 99.8)
    """Percentiles of the volume's grey values that become 0 and 255."""
    invert: bool = False
    """Swap dark and bright."""


class DetectSettings(Settings):
    """How foreground and detections are found."""

    detector: str = ONE_TISSUE
    """Embedded or downloaded weights by name, a weights file by path, ``bioimageio:FOLDER``, or ``pkg.module:factory``."""
    pixel_nm: float | None = None
    """Pixel size (y, x) the detector works at, in nm; None: its own, or the volume's where it has none."""
    weights: str = ""
    """SHA-256 of the weights; empty for a factory."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keywords for a factory, and what a network of others lets choose."""
    margin_nm: Spacing = (40.0, 640.0, 640.0)
    """How far (z, y, x) the detector reads beyond a core, in nm; of a U-Net's weights their own measured margin is taken."""
    threshold: float = 0.5
    """Foreground probability from which a voxel counts, 0..1."""
    mirror: bool = False
    """Let the U-Net see each slice a second time, turned round, and average: half as fast."""
    min_separation_nm: float = 120.0
    """Two detections of one slice closer than this are one."""
    mask: CellMask | None = None
    """Cells outside of which nothing is looked for; None: everywhere."""


class SegmentSettings(Settings):
    """How detections become fragments."""

    segmenter: str = "sam"
    """``sam``, ``unet`` (the watershed alone), or ``pkg.module:factory``."""
    sam: str = "sam-small"
    """Embedded SAM weights by name, or a checkpoint by path."""
    sam_pixel_nm: float | None = None
    """Pixel size SAM works at, in nm; None: what the weights carry, or the volume's own."""
    weights: str = ""
    """SHA-256 of SAM's weights file; empty where none is used."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keywords for a factory."""
    margin: Triple | None = None
    """Margin (z, y, x) of a block in voxels; None: 8 slices and 64 pixels, at most the core."""
    nms_iou: float = 0.7
    """Of two masks of a slice with a larger IoU the lower-scored is dropped."""
    nms_iom: float = 0.8
    """The same for intersection over the smaller mask."""
    group_from: float = 0.15
    """Foreground that hangs together by pixels of this probability is one profile, unless a neck parts it, or thick parts of it
    are surer than what lies between them."""
    unsure_from: float = 0.3
    """Foreground probability from which on a mask may claim a pixel."""
    gate_nm: float | None = Field(default=None, ge=0)
    """Instead, masks are cut at the foreground dilated by this much, and SAM is asked for every profile."""
    sam_step_nm: float = Field(default=20.0, ge=0)
    """SAM is asked in slices at most this far apart; in between its masks are interpolated. 0: in each slice."""
    unsure_share: float = 0.06
    """SAM is asked for a profile only where the unsure pixels around it (from ``unsure_from`` or ``group_from``, the larger, to the
    threshold) are this part of its own ..."""
    unsure_mean: float = 0.8
    """... or its mean foreground probability is below this."""
    min_score: float = 0.3
    """Profiles for which SAM's predicted IoU x stability is lower are dropped."""
    min_mask_mean: float = 0.5
    """SAM's masks of which the mean foreground probability is lower are not taken, and their profiles stay as they are: what they
    hold is more likely another organelle than a mitochondrion."""
    min_profile_nm2: float = 2_500.0
    """Smaller 2D profiles that meet no block border are dropped."""
    link_iou: float = 0.15
    """Masks of neighbouring slices link from this IoU on."""
    link_iom: float = 0.7
    """... or from this intersection over the smaller mask on."""
    max_gap: int = 2
    """Slices a link may skip."""

    @property
    def asks_all(self) -> bool:
        """Whether the segmenter is asked for every profile: anyone's own is, and SAM where a distance gates its masks."""
        return self.segmenter != "sam" or self.gate_nm is not None

    @property
    def least_score(self) -> float:
        """Score below which a profile is dropped: only SAM's scores are known to be probabilities."""
        return self.min_score if self.segmenter == "sam" and self.gate_nm is None else float("-inf")


class StitchSettings(Settings):
    """When fragments of neighbouring blocks are one object."""

    overlap: float = 0.5
    """Mean of the two overlap fractions above which two pieces are joined."""
    split_overlap: float = 0.8
    """Intersection over the smaller piece for a second partner."""
    seam_low: float = 0.3
    """Lower end of the overlaps at which a seam counts as undecided."""
    seam_high: float = 0.6
    """Upper end of them; seams between the two are listed in the seam report."""


class RelabelSettings(Settings):
    """How final labels are written."""

    min_volume_nm3: float = 1.0e6
    """Objects below this volume are dropped."""
    into_source: bool = False
    """Write labels into the source OME-Zarr instead of the run's."""


class MeasureSettings(Settings):
    """What is measured of each object (nothing to set yet)."""


class ReportSettings(Settings):
    """What the report shows."""

    pictures: int = 3
    """Number of slices pictured."""


class RunSettings(Settings):
    """All settings of a run: what run.json keeps."""

    convert: ConvertSettings
    """See the class."""
    detect: DetectSettings = DetectSettings()
    """See the class."""
    segment: SegmentSettings = SegmentSettings()
    """See the class."""
    stitch: StitchSettings = StitchSettings()
    """See the class."""
    relabel: RelabelSettings = RelabelSettings()
    """See the class."""
    measure: MeasureSettings = MeasureSettings()
    """See the class."""
    report: ReportSettings = ReportSettings()
    """See the class."""
    threads: int = 1
    """Threads a task computes with; part of the settings, because sums depend on it."""

    def token(self, stage: str) -> str:
        """Digest of everything a stage's result depends on: its own settings and those of all stages before it.

        Examples
        --------
        >>> from mitoscale.core.geometry import Region
        >>> a = RunSettings(convert=ConvertSettings(source="a.tif", fingerprint="0", spacing=(5, 5, 5),
        ...     core=(8, 8, 8), chunks=(8, 8, 8), region=Region.of_shape((8, 8, 8))))
        >>> b = a.model_copy(update={"stitch": StitchSettings(overlap=0.4)})
        >>> a.token("segment") == b.token("segment"), a.token("stitch") == b.token("stitch")
        (True, False)
        """
        upto = STAGES[: STAGES.index(stage) + 1]
        content: dict[str, Any] = {name: getattr(self, name).model_dump(mode="json") for name in upto}
        content["threads"] = self.threads if stage != "convert" else 0
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
