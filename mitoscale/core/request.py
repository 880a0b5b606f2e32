"""What is asked of a run, in the words of the command line."""

from __future__ import annotations

import operator
import os
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mitoscale.core.detector_names import AUTO
from mitoscale.core.geometry import Region
from mitoscale.core.settings import Settings
from mitoscale.core.source_choices import Reading

Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""
From0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A finite number from 0 on."""
Edge = Annotated[int, Field(gt=0, le=16384)]
"""Voxels along an edge of a block."""


def _ranges_text(value: Any) -> Any:
    """Slices, pairs or a Region as the command line writes them; text stays as it is.

    Examples
    --------
    >>> _ranges_text(((0, 64), slice(8, None), (None, 512)))
    '0:64,8:,:512'
    """
    if isinstance(value, Region):
        return str(value)
    if value is None or isinstance(value, str):
        return value
    such = "give text such as 0:64,0:512,0:512, or three pairs or slices (z, y, x) such as ((0, 64), (0, 512), (0, 512))"
    try:
        bounds = [(v.start, v.stop, v.step) if isinstance(v, slice) else (*v, None) for v in value]
        if len(bounds) != 3 or any(step not in (None, 1) for *_, step in bounds):
            raise ValueError(such)
        return ",".join(":".join("" if n is None else str(operator.index(n)) for n in (a, b)) for a, b, _ in bounds)
    except (TypeError, ValueError):
        raise ValueError(such) from None


def _three(value: Any) -> Any:
    """Text ``5,5,5`` or an array as the numbers in it; all else stays as it is.

    Examples
    --------
    >>> _three("50,4.6,4.6"), _three((5, 5, 5))
    (['50', '4.6', '4.6'], (5, 5, 5))
    """
    return value.split(",") if isinstance(value, str) else value.tolist() if hasattr(value, "tolist") else value


def _path_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


NameOrPath = Annotated[str | None, BeforeValidator(_path_text)]
"""A name or path."""


class RunRequest(Settings):
    """The options of ``mitoscale run`` and of the stage commands; ``None`` (or an empty mapping) is an option not given.

    Examples
    --------
    >>> RunRequest(threshold=0.6, gate=30).segment()
    {'gate_nm': 30.0}
    >>> RunRequest(region=((0, 64), slice(8, None), slice(None))).region
    '0:64,8:,:'
    """

    voxel_size: Annotated[tuple[Above0, Above0, Above0] | None, BeforeValidator(_three)] = None
    """Voxel size (z, y, x) in nm, where the source does not tell it."""
    reading: Reading = Reading()
    """What of a source is read, where that is not clear."""
    region: Annotated[str | None, BeforeValidator(_ranges_text)] = None
    """Part of the volume to work on, ``Z0:Z1,Y0:Y1,X0:X1`` in voxels; from Python three slices or pairs as well."""
    block: Annotated[tuple[Edge, Edge, Edge] | None, BeforeValidator(_three)] = None
    """Core (z, y, x) of a block in voxels."""
    invert: bool | None = None
    """Membranes are bright: swap dark and bright."""
    mask: NameOrPath = None
    """Cells outside of which nothing is looked for: a volume of any kind."""
    detector: NameOrPath = None
    """Weights by name or path, ``bioimageio:FOLDER``, or ``pkg.module:factory``; ``auto``: an embedded U-Net that suits."""
    detector_pixel: float | None = None
    """Pixel size the detector works at, in nm."""
    detector_option: dict[str, Any] = Field(default_factory=dict)
    """Keywords for a detector's factory."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Foreground probability from which a voxel counts, 0..1."""
    mirror: bool = False
    """The U-Net sees each slice twice."""
    segmenter: NameOrPath = None
    """``sam``, ``unet``, or ``pkg.module:factory``; not named: SAM, unless the detector chosen for the volume knows its tissue."""
    segmenter_option: dict[str, Any] = Field(default_factory=dict)
    """Keywords for a segmenter's factory."""
    sam: NameOrPath = None
    """Embedded SAM weights by name, or a checkpoint by path."""
    sam_pixel: Above0 | None = None
    """Pixel size SAM works at, in nm."""
    sam_step: From0 | None = None
    """Distance of the slices in which SAM is asked, in nm; 0: each."""
    gate: From0 | None = None
    """How far masks may leave the foreground, in nm."""
    min_volume: From0 | None = None
    """Smaller objects are dropped, in nm^3."""
    labels_into_source: bool = False
    """Write labels into the source OME-Zarr."""
    redo: Literal["convert", "detect", "segment", "stitch", "relabel", "measure", "report"] | None = None
    """Stage that is done again, with all after it."""

    @property
    def named(self) -> str | None:
        """The detector, where one is named."""
        return None if self.detector == AUTO else self.detector

    @property
    def names_segmenter(self) -> bool:
        """Whether a segmenter is named, or something is said to one."""
        return self.segmenter is not None or bool(self.said_to_sam)

    @property
    def said_to_sam(self) -> dict[str, Any]:
        """The options given that are for SAM, with their values; ``--gate`` is for any segmenter that answers with masks."""
        return _given(**{"--sam": self.sam, "--sam-pixel": self.sam_pixel, "--sam-step": self.sam_step, "--gate": self.gate})

    def detect(self) -> dict[str, Any]:
        """What is given of :class:`~mitoscale.core.settings.DetectSettings`, by its names."""
        return _given(
            detector=self.named,
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
            sam_step_nm=self.sam_step,
            gate_nm=self.gate,
        )

    def relabel(self) -> dict[str, Any]:
        """What is given of :class:`~mitoscale.core.settings.RelabelSettings`, by its names."""
        return _given(min_volume_nm3=self.min_volume, into_source=self.labels_into_source or None)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
