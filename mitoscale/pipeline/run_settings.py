"""From what is asked of a run to its settings: defaults, block size, and the weights' digests."""

from __future__ import annotations

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import SINGLE_NM, Region, Spacing, Triple
from mitoscale.core.plan import chunks_of, default_core
from mitoscale.core.request import RunRequest
from mitoscale.core.settings import ConvertSettings, DetectSettings, RelabelSettings, RunSettings, SegmentSettings
from mitoscale.nets.factories import weights_digest
from mitoscale.nets.margin import margin_nm
from mitoscale.nets.published import check_use
from mitoscale.nets.window_size import window_nm
from mitoscale.stages.cell_mask import open_mask
from mitoscale.stages.source import Source

_THIN, _LEAST_NM2 = 3, 1.0e4
"""Up to so many slices a volume says little; objects are then kept from this area in one slice on, 100 x 100 nm."""

_SINGLE_MARGIN = (0, 64, 64)
"""Margin of a block of single pictures, in voxels: none across them."""


def settings_for(source: Source, request: RunRequest, threads: int, core: Triple | None = None) -> RunSettings:
    """The settings of a new run; what is not given has its default.

    Parameters
    ----------
    source : Source
        The volume.
    request : RunRequest
        What is asked.
    threads : int
        Threads a task computes with.
    core : (z, y, x), optional
        Core of a block in voxels, where none is asked for; without it, one that suits the volume and the segmenter.

    Raises
    ------
    InputError
        If the region is not in the volume, or weights cannot be found.
    """
    segment = SegmentSettings(**request.segment())
    region = Region.parse(request.region, source.shape) if request.region else Region.of_shape(source.shape)
    core = request.block or core or default_core(region.shape, source.spacing, window_nm(segment, source.spacing))
    convert = ConvertSettings(
        source=source.path,
        reading=source.reading,
        fingerprint=source.fingerprint,
        spacing=source.spacing,
        in_place=source.level0 is not None,
        core=core,
        chunks=chunks_of(core),
        region=region,
        missing=source.missing,
        invert=bool(request.invert),
    )
    relabel = RelabelSettings(min_volume_nm3=least_volume(convert.region, source.spacing))
    mask = open_mask(request.mask, source.shape, source.spacing, source.origin) if request.mask is not None else None
    alone = SegmentSettings(margin=_SINGLE_MARGIN) if source.spacing[0] >= SINGLE_NM else SegmentSettings()
    settings = RunSettings(convert=convert, detect=DetectSettings(mask=mask), segment=alone, relabel=relabel, threads=threads)
    return with_request(settings, request)


def least_volume(region: Region, spacing: Spacing) -> float:
    """Volume in nm^3 below which objects are dropped by default; of up to three slices, and of pictures, it follows from an area.

    Parameters
    ----------
    region : Region
        What is worked on.
    spacing : (z, y, x)
        Voxel size in nm.

    Examples
    --------
    >>> least_volume(Region.of_shape((64, 9, 9)), (5.0, 5.0, 5.0)), least_volume(Region.of_shape((1, 9, 9)), (5.0, 5.0, 5.0))
    (1000000.0, 50000.0)
    """
    flat = region.shape[0] <= _THIN or spacing[0] >= SINGLE_NM
    return _LEAST_NM2 * spacing[0] if flat else RelabelSettings().min_volume_nm3


def with_request(settings: RunSettings, request: RunRequest) -> RunSettings:
    """Settings with what is asked of detect, segment and relabel; weights are looked up and hashed.

    Parameters
    ----------
    settings : RunSettings
        Those of a run so far.
    request : RunRequest
        What is asked; what it leaves out stays.
    """
    detect = settings.detect.model_dump() | request.detect()
    segment = settings.segment.model_dump() | request.segment()
    relabel = settings.relabel.model_dump() | request.relabel()
    if detect["detector"] != settings.detect.detector:  # what was said to another one means nothing to it
        detect["options"], detect["pixel_nm"] = request.detector_option, request.detector_pixel
    if segment["segmenter"] != settings.segment.segmenter:
        segment["options"] = request.segmenter_option
    for option, value in request.said_to_sam.items():
        if segment["segmenter"] == "unet" or (segment["segmenter"] != "sam" and option != "--gate"):
            asked = segment["segmenter"]
            raise InputError(f"{option} {value} is for SAM, which --segmenter {asked} does not ask; leave out one of the two")
    check_use(detect["detector"], "detector")
    check_use(segment["sam"], "sam")
    detect["weights"] = weights_digest(detect["detector"])
    if detect["weights"] != settings.detect.weights:
        detect["margin_nm"] = margin_nm(detect["detector"]) or DetectSettings().margin_nm
    segment["weights"] = weights_digest(segment["sam"]) if segment["segmenter"] == "sam" else ""
    return settings.model_copy(
        update={
            "detect": DetectSettings(**detect),
            "segment": SegmentSettings(**segment),
            "relabel": RelabelSettings(**relabel),
        }
    )
