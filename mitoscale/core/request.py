"""What is asked of a run, in the words of the command line."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mitoscale.core.geometry import Spacing, Triple
from mitoscale.core.settings import Settings


class RunRequest(Settings):
    """The options of ``mitoscale run`` and of the stage commands; ``None`` (or an empty mapping) is an option not given.

    Examples
    --------
    >>> RunRequest(threshold=0.6, gate=30).segment()
    {'gate_nm': 30.0}
    """

    voxel_size: Spacing | None = None
    """Voxel size (z, y, x) in nm, where the source does not tell it."""
    region: str | None = None
    """Part of the volume to work on, ``Z0:Z1,Y0:Y1,X0:X1`` in voxels."""
    block: Triple | None = None
    """Core (z, y, x) of a block in voxels."""
    invert: bool | None = None
    """Membranes are bright: swap dark and bright."""
    detector: str | None = None
    """Embedded weights by name, a weights file by path, or ``pkg.module:factory``."""
    detector_option: dict[str, Any] = Field(default_factory=dict)
    """Keywords for a detector's factory."""
    threshold: float | None = None
    """Foreground probability from which a voxel counts, 0..1."""
    mirror: bool = False
    """The U-Net sees each slice twice."""
    segmenter: str | None = None
    """``sam``, ``unet``, or ``pkg.module:factory``."""
    segmenter_option: dict[str, Any] = Field(default_factory=dict)
    """Keywords for a segmenter's factory."""
    sam: str | None = None
    """Embedded SAM weights by name, or a checkpoint by path."""
    sam_pixel: float | None = None
    """Pixel size SAM works at, in nm."""
    gate: float | None = None
    """How far masks may leave the foreground, in nm."""
    min_volume: float | None = None
    """Smaller objects are dropped, in nm^3."""
    labels_into_source: bool = False
    """Write labels into the source OME-Zarr."""
    redo: str | None = None
    """Stage that is done again, with all after it."""

    def detect(self) -> dict[str, Any]:
        """What is given of :class:`~mitoscale.core.settings.DetectSettings`, by its names."""
        return _given(
            detector=self.detector,
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
