"""What is asked of a run, in the words of the command line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mitoscale.core.settings import Settings
from mitoscale.core.source_choices import Reading

Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""
From0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A finite number from 0 on."""
Edge = Annotated[int, Field(gt=0, le=16384)]
"""Voxels along an edge of a block."""


class RunRequest(Settings):
    """The options of ``mitoscale run`` and of the stage commands; ``None`` (or an empty mapping) is an option not given.

    Examples
    --------
    >>> RunRequest(threshold=0.6, gate=30).segment()
    {'gate_nm': 30.0}
    """

    voxel_size: tuple[Above0, Above0, Above0] | None = None
    """Voxel size (z, y, x) in nm, where the source does not tell it."""
    reading: Reading = Reading()
    """What of a source is read, where that is not clear."""
    region: str | None = None
    """Part of the volume to work on, ``Z0:Z1,Y0:Y1,X0:X1`` in voxels."""
    block: tuple[Edge, Edge, Edge] | None = None
    """Core (z, y, x) of a block in voxels."""
    invert: bool | None = None
    """Membranes are bright: swap dark and bright."""
    mask: str | None = None
    """Cells outside of which nothing is looked for: a volume of any kind."""
    detector: str | None = None
    """Weights by name or path, ``bioimageio:FOLDER``, or ``pkg.module:factory``."""
    detector_pixel: float | None = None
    """Pixel size the detector works at, in nm."""
    detector_option: dict[str, Any] = Field(default_factory=dict)
    """Keywords for a detector's factory."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Foreground probability from which a voxel counts, 0..1."""
    mirror: bool = False
    """The U-Net sees each slice twice."""
    segmenter: str | None = None
    """``sam``, ``unet``, or ``pkg.module:factory``."""
    segmenter_option: dict[str, Any] = Field(default_factory=dict)
    """Keywords for a segmenter's factory."""
    sam: str | None = None
    """Embedded SAM weights by name, or a checkpoint by path."""
    sam_pixel: Above0 | None = None
    """Pixel size SAM works at, in nm."""
    gate: From0 | None = None
    """How far masks may leave the foreground, in nm."""
    min_volume: From0 | None = None
    """Smaller objects are dropped, in nm^3."""
    labels_into_source: bool = False
    """Write labels into the source OME-Zarr."""
    redo: Literal["convert", "detect", "segment", "stitch", "relabel", "measure", "report"] | None = None
    """Stage that is done again, with all after it."""

    def detect(self) -> dict[str, Any]:
        """What is given of :class:`~mitoscale.core.settings.DetectSettings`, by its names."""
        return _given(
            detector=self.detector,
            pixel_nm=self.detector_pixel,
            threshold=self.threshold,
            mirror=self.mirror or None,
            options=self.detector_option or None,
        )

    def segment(self) -> dict[str, Any]:
        """What is given of :class:`~mitoscale.core.settings.SegmentSettings`, by its names."""
        return _given(
            segmenter=self.segmenter,
            sam=self.sam,
            sam_pixel_nm=self.sam_pixel,
            options=self.segmenter_option or None,
            gate_nm=self.gate,
        )

    def relabel(self) -> dict[str, Any]:
        """What is given of :class:`~mitoscale.core.settings.RelabelSettings`, by its names."""
        return _given(min_volume_nm3=self.min_volume, into_source=self.labels_into_source or None)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
